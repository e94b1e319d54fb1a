"""A repo: one file in `/etc/tinyci/repos.d/`, checked."""

import os.path
import re
from fnmatch import fnmatchcase
from typing import NamedTuple

from tinyci.model.toml import ConfigError, TomlTable

DIRECTORY = "/etc/tinyci/repos.d"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
# systemd.unit(5), "Description": valid characters, and the types that a deploy can restart.
_UNIT = re.compile(r"[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\-]*)?\.(?:service|socket|target|slice|path|timer)", re.ASCII)
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,255}", re.ASCII)

_HTTP = re.compile(
    r"https?://(?:[^\s/?#@\[\]]*@)?(?:[^\s/?#@:\[\]]+|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?(?:[/?#][!-~]*)?",
    re.ASCII,
)
# RFC 9110, "Field Names", "Status Codes".
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}:[ -~]{1,1000}", re.ASCII)
_STATUS = re.compile(r"[1-5](?:xx|[0-9]{2})", re.ASCII)

NOTICES = ("failure", "recovery", "deploy", "never")
"""Reasons to notify: a failed deploy, the first success after one, every deploy that ended; never."""


RESTARTS = ("changed", "always")
"""When a deploy restarts its units: if it makes them run something new, or always."""


# The hook imports this file on every push, hence no dataclasses (9 ms), no pathlib (8 ms) and no urllib (5 ms).
class Repo(NamedTuple):
    """The source of a repo, its user, and the units that its deploy restarts. Times in seconds."""

    name: str
    repository: str
    """Absolute path of the bare repository."""
    user: str
    """`root` means the system manager, any other user that user's own manager."""
    refs: tuple[str, ...]
    """Patterns as in fnmatch, matched against the full name of a ref."""
    units: tuple[str, ...]
    """Restarted in this order. Empty: the build is the whole deploy."""
    script: str
    """Relative to the root of the checkout."""
    timeout: float
    """Limit of the build."""
    restart_timeout: float
    """Limit of each unit's restart; its own TimeoutStartSec= usually comes first."""
    settle: float
    """Time for which every unit must stay up after its restart."""
    verify_timeout: float
    """Limit for healthchecks and the health URL to be well, after `settle`."""
    health: str
    """URL that must answer after a restart, or empty."""
    health_headers: tuple[str, ...] = ()
    """Headers that the health URL is asked with, each as `Name: value`."""
    health_status: tuple[str, ...] = ("2xx",)
    """Statuses of its answer that are well: `204`, or `2xx` for all that begin with 2."""
    keep_images: int = 3
    """Number of successful deploys whose images are kept, the running one included."""
    restart: str = RESTARTS[0]
    """Of RESTARTS."""
    notify: tuple[str, ...] = ()
    """Of NOTICES. Empty: the ones that `/etc/tinyci/tinyci.toml` has for all repos."""

    @classmethod
    def placeholder(cls, name: str, user: str) -> "Repo":
        """A stand-in for a repo whose file was removed: its name and its user."""
        return cls(name, "", user, (), (), "", 0.0, 0.0, 0.0, 0.0, "")

    @property
    def is_root(self) -> bool:
        return self.user == "root"

    @property
    def only_ref(self) -> str:
        """The one ref that it deploys; empty when it deploys several, or a pattern's."""
        ref = self.refs[0] if len(self.refs) == 1 else ""
        return "" if set(ref) & set("*?[") else ref

    @property
    def health_header_values(self) -> dict[str, str]:
        """The value of each of `health_headers` by its name."""
        pairs = (header.partition(":") for header in self.health_headers)
        return {name: value.strip() for name, _, value in pairs}

    def accepts_status(self, status: int) -> bool:
        """True if the health URL is well when it answers so."""
        return str(status) in self.health_status or f"{status // 100}xx" in self.health_status

    def deploys(self, ref: str) -> bool:
        return any(fnmatchcase(ref, pattern) for pattern in self.refs)


def is_name(name: str) -> bool:
    """True if a repo may have this name: it becomes a file name, a key and a D-Bus argument."""
    return _NAME.fullmatch(name) is not None


def parse(file: str, text: str) -> Repo:
    """Return the repo of a file, named as the file without `.toml`. Raises ConfigError."""
    name = os.path.basename(file).removesuffix(".toml")
    if not is_name(name):
        raise ConfigError(f"{file}: expected a file name of letters, digits, '.', '_' and '-', at most 64 long")
    table = TomlTable.load(file, text)
    repo = Repo(
        name=name,
        repository=table.text("repository", "the absolute path of a bare repository", _is_clean_absolute),
        user=table.text("user", 'the name of a user, "root" for the system manager', _USER.fullmatch),
        refs=table.texts(
            "refs",
            'a list of full ref names or patterns, such as ["refs/heads/main"]',
            lambda ref: ref.startswith("refs/"),
            ("refs/heads/main", "refs/heads/master"),
        ),
        units=table.texts("units", 'a list of unit names, such as ["web.service"]', is_unit, ()),
        script=table.text("script", "a path inside the repository", _is_inside, "ci-build.sh"),
        timeout=table.span("timeout", "30min", least=1.0),
        restart_timeout=table.span("restart_timeout", "5min", least=1.0),
        settle=table.span("settle", "5s"),
        verify_timeout=table.span("verify_timeout", "2min", least=1.0),
        health=table.text("health", "an http:// or https:// URL", is_http, ""),
        health_headers=table.texts(
            "health_headers", 'a list of headers, such as ["Host: web.example.org"]', _HEADER.fullmatch, ()
        ),
        health_status=table.texts(
            "health_status", 'a list of statuses, such as ["2xx", "401"]', _STATUS.fullmatch, ("2xx",)
        ),
        keep_images=table.number("keep_images", 1, 3),
        restart=table.text("restart", f"a word out of {', '.join(RESTARTS)}", RESTARTS.__contains__, RESTARTS[0]),
        notify=table.texts("notify", f"a list of words out of {', '.join(NOTICES)}", NOTICES.__contains__, ()),
    )
    table.reject_unknown_keys()
    return repo


def is_unit(unit: str) -> bool:
    return len(unit) <= 255 and _UNIT.fullmatch(unit) is not None


def is_unit_name(text: str) -> bool:
    """True if a unit may have this name, of whatever type it is."""
    return _UNIT_NAME.fullmatch(text) is not None


def is_http(url: str) -> bool:
    """True for a URL that can be taken apart: RFC 3986, with a host, and a port that there can be."""
    match = _HTTP.fullmatch(url)
    return match is not None and 0 < int(match["port"] or 1) < 65536 and (not match["ipv6"] or _is_ipv6(match["ipv6"]))


def _is_ipv6(text: str) -> bool:
    import ipaddress  # the hook needs it for few repos, if for any

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_clean_absolute(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and "\n" not in path and "\0" not in path


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and not path.startswith("/") and ".." not in parts and "\0" not in path
