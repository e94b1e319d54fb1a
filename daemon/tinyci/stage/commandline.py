"""The command lines of units, as far as podman is in them: which container is started, from which image.

Source: podman-run(1), podman-create(1), podman-start(1), podman-kube-play(1), podman-compose's own help.
"""

import os.path
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_ENGINES = ("podman", "docker")
_COMPOSE = ("podman-compose", "docker-compose")
_SHELLS = ("sh", "bash", "dash", "ash", "busybox")
_SEPARATORS = frozenset({"&&", "||", ";", "|", "&", "(", ")", ";;"})

# Options that take no value; all others take one, after a blank or `=`.
_GLOBAL_FLAGS = frozenset({"remote", "r", "noout", "syslog", "transient-store", "help", "version"})
_FLAGS = _GLOBAL_FLAGS | {
    *("detach", "d", "disable-content-trust", "env-host", "http-proxy", "init", "interactive", "i", "no-healthcheck"),
    *("no-hostname", "no-hosts", "oom-kill-disable", "passwd", "privileged", "publish-all", "P", "quiet", "q"),
    *("read-only", "read-only-tmpfs", "replace", "rm", "rmi", "sig-proxy", "tls-verify", "tty", "t", "unsetenv-all"),
}
_START_FLAGS = _FLAGS | {"all", "attach", "a"}
_KUBE_FLAGS = _FLAGS | {"start", "wait", "build", "down", "force", "service-container", "no-pod-prefix"}


class Command(NamedTuple):
    """One call of podman, or of a program like it."""

    engine: str
    """`podman`, `docker`, or `compose`."""
    verb: str
    """`run`, `create`, `start`, `kube`, `pod`, another word of podman's, or empty."""
    container: str = ""
    """Name of the container, or of the pod; empty when it is not said."""
    image: str = ""
    """Name of the image that a new container is made of, as it is written."""
    file: str = ""
    """The file of Kubernetes that is played."""
    project: str = ""
    """Name of the compose project; empty for that of the working directory."""

    @property
    def makes_container(self) -> bool:
        return self.verb in ("run", "create")


def commands(words: Sequence[str]) -> list[Command]:
    """Return the calls of podman in one command line, also behind a shell's `-c`, `exec` or `env`."""
    if not words:
        return []
    if os.path.basename(words[0]) in _SHELLS and "-c" in words:
        inner = words[list(words).index("-c") + 1 :]
        return [command for part in _parts(inner[0] if inner else "") for command in commands(part)]
    for place, word in enumerate(words):
        name = os.path.basename(word)
        if name in _ENGINES:
            return [_engine_command(name, words[place + 1 :])]
        if name in _COMPOSE:
            return [_compose_command(words[place + 1 :])]
    return []


def _parts(text: str) -> Iterator[list[str]]:
    """Yield the simple commands of a shell's text."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    part: list[str] = []
    try:
        for token in lexer:
            if token in _SEPARATORS:
                yield part
                part = []
            else:
                part.append(token)
    except ValueError:  # a quote that does not end
        part = text.split()
    yield part


def _engine_command(engine: str, words: Sequence[str]) -> Command:
    _, rest = _split(words, _GLOBAL_FLAGS)
    if not rest:
        return Command(engine, "")
    verb, rest = rest[0], rest[1:]
    if verb == "compose":
        return _compose_command(rest)
    if verb in ("container", "kube", "play", "pod") and rest:
        sub, rest = rest[0], rest[1:]
        if verb == "container":
            verb = sub
        elif verb in ("kube", "play"):
            verb = "kube" if sub in ("play", "kube") else f"kube {sub}"
    flags = _KUBE_FLAGS if verb == "kube" else _START_FLAGS if verb == "start" else _FLAGS
    options, operands = _split(rest, flags)
    name = options.get("name", "")
    match verb:
        case "run" | "create":
            return Command(engine, verb, name, operands[0] if operands else "")
        case "start" | "pod":
            return Command(engine, verb, name or (operands[0] if operands else ""))
        case "kube":
            return Command(engine, verb, file=operands[0] if operands else "")
    return Command(engine, verb)


def _compose_command(words: Sequence[str]) -> Command:
    options, _ = _split(words, _GLOBAL_FLAGS)
    return Command("compose", "up", project=options.get("project-name") or options.get("p", ""))


def _split(words: Sequence[str], flags: frozenset[str]) -> tuple[Mapping[str, str], Sequence[str]]:
    """Return the options before the first operand, by their names, and the operands. Of an option that is there more
    than once the last counts."""
    options: dict[str, str] = {}
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            place -= 1
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals and name not in flags and place < len(words):
                value = words[place]
                place += 1
            options[name] = value
            continue
        for letter_place, letter in enumerate(word[1:], 1):
            if letter in flags:
                options[letter] = ""
                continue
            value = word[letter_place + 1 :].removeprefix("=")
            if not value and place < len(words):
                value = words[place]
                place += 1
            options[letter] = value
            break
    return options, words[place:]


# -- names of images ---------------------------------------------------------------------------------------------------

_TRANSPORT = re.compile(r"(?:docker|containers-storage|oci|docker-archive|oci-archive|docker-daemon|dir):(?://)?")


_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*", re.ASCII)


def is_image(text: str) -> bool:
    """Return whether a text may be the name of an image: not if a shell makes it up."""
    return _IMAGE.fullmatch(text) is not None


def image_names(text: str) -> tuple[str, ...]:
    """Return the full names that an image's name, as people write it, may stand for, the likeliest first."""
    name = _TRANSPORT.sub("", text, count=1) if _TRANSPORT.match(text) else text
    head, slash, _ = name.partition("/")
    if "@" not in name and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    if slash and ("." in head or ":" in head or head == "localhost"):
        return (name,)
    return (f"localhost/{name}", f"docker.io/{name}" if slash else f"docker.io/library/{name}")


_IMAGE_LINE = re.compile(r"""(?:^|[{,])\s*(?:-\s*)?["']?image["']?\s*:\s*["']?([^\s"'#,}]+)""", re.MULTILINE)
_NAME_LINE = re.compile(r"""(?:^|[{,])\s*(?:-\s*)?["']?name["']?\s*:\s*["']?([^\s"'#,}]+)""", re.MULTILINE)


def kube_images(text: str) -> list[str]:
    """Return the images that a file of Kubernetes names."""
    return _IMAGE_LINE.findall(text)


def kube_names(text: str) -> set[str]:
    """Return all names in a file of Kubernetes; those of its pods are among them."""
    return set(_NAME_LINE.findall(text))
