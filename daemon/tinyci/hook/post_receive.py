"""The post-receive hook: one job in Redis for each updated ref that a repo deploys.

Shared by all repositories through core.hooksPath. Reads `OLD NEW REF` lines (githooks(5)), never refuses a push,
and always exits 0: the refs are updated by now, and an error here would only make the pusher doubt that.
"""

from __future__ import annotations

import os
import sys

from tinyci.hook import commit, pusher
from tinyci.hook.jobqueue import JobQueue
from tinyci.model import repofile, toml
from tinyci.model.toml import ConfigError

TYPE_CHECKING = False  # of typing, which takes as long to import as half of the hook
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

Update = tuple[str, str, str]
"""The old object, the new one, and the full name of the ref."""


class Target:
    """A repo, as far as a push is concerned with it."""

    def __init__(self, file: str, text: str) -> None:
        """Take it from the text of its file. Raises ConfigError for any key that is wrong."""
        self.name = repofile.name_of(file)
        values = repofile.values(file, text)
        self.repository = str(values["repository"])
        refs = values["refs"]
        self.refs: tuple[str, ...] = refs if isinstance(refs, tuple) else ()


def main() -> None:
    """Add the jobs of a push. git runs this in the bare repository."""
    # An admin's or a test's other places; git's own environment of a push cannot set them over SSH.
    etc = os.environ.get("TINYCI_ETC", "/etc/tinyci")
    git_dir = os.path.realpath(os.environ.get("GIT_DIR", "."))
    repos, errors = repos_of(os.path.join(etc, "repos.d"), git_dir)
    if not repos:
        for error in errors:
            pusher.say(error)
        pusher.say(f"no job: no file in {etc}/repos.d names the repository {git_dir}.")
        return
    options = pusher.options()
    updates = in_deploy_order(_updates(sys.stdin.buffer))
    with JobQueue(etc) as queue:
        refs_of: dict[str, list[str]] = {repo.name: [] for repo in repos}
        for old, new, ref in updates:
            for repo in repos:
                if reason := no_job(repo, new, ref, git_dir, options):
                    pusher.say(f"no job for {repo.name}: {reason}.")
                else:
                    queue.add(repo.name, ref, new, old)
                    refs_of[repo.name].append(ref)
        for name, refs in refs_of.items():
            if len(refs) > 1:
                pusher.say(f"{name} deploys these one after another, {refs[-1]} last: that is what runs in the end.")
    if "follow" in options:
        follow(queue)


def _updates(lines: Iterable[bytes]) -> Iterator[Update]:
    """Yield the updates of a push, and tell the pusher of lines that are none."""
    for line in lines:
        update = os.fsdecode(line.rstrip(b"\n")).split(" ", 2)
        if len(update) == 3:
            yield update[0], update[1], update[2]
        else:
            pusher.say(f"no job for a line that git does not write, {update[0][:64]!r}: expected OLD NEW REF.")


def in_deploy_order(updates: Iterable[Update]) -> list[Update]:
    """Return the updates of a push as they came, and then those of tags, the newest version last: git sends v1.10
    before v1.9, and what is deployed last is what runs."""
    tags: list[Update] = []
    others: list[Update] = []
    for update in updates:
        (tags if update[2].startswith("refs/tags/") else others).append(update)
    if len(tags) > 1:
        from tinyci.model import version  # few pushes bring two

        tags.sort(key=lambda update: version.order(update[2]))
    return others + tags


def repos_of(directory: str, git_dir: str) -> tuple[list[Target], list[str]]:
    """Return the repos deployed from the repository at git_dir, and a sentence for each file that cannot be read."""
    repos, errors = [], []
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".toml"))
    except OSError as error:
        return [], [f"{directory}: {error.strerror}."]
    for name in names:
        path = os.path.join(directory, name)
        try:
            text = toml.read(path)
            if _is_of_another(text, git_dir):
                continue
            repo = Target(path, text)
            if os.path.realpath(repo.repository) == git_dir:
                repos.append(repo)
        except ConfigError as error:
            errors.append(f"{error}.")
    return repos, errors


def _is_of_another(text: str, git_dir: str) -> bool:
    """True if the text of a repo's file plainly names another repository: with many repos, parsing each file takes
    longer than all else that a push may be slowed by."""
    lines = [line for line in text.split("\n") if line.startswith("repository")]
    parts = lines[0].split('"') if len(lines) == 1 and "\\" not in lines[0] else []
    # A line that means the same to TOML: one string, without escapes.
    is_plain = len(parts) == 3 and "".join(parts[0].split()) == "repository=" and not parts[2].strip()
    return is_plain and not _is_same(parts[1], git_dir)


def _is_same(path: str, directory: str) -> bool:
    """True if both lead to one directory; a tenth of the calls that realpath(3) makes tell so."""
    try:
        return path == directory or os.path.samefile(path, directory)
    except (OSError, ValueError):  # there is none, or no path
        return False


def no_job(repo: Target, new: str, ref: str, git_dir: str, options: Collection[str]) -> str:
    """Return the reason why the repo is not deployed for this ref; empty when it is."""
    if not new.strip("0"):
        return f"{ref} was deleted"
    if not repofile.matches(repo.refs, ref):
        return f"it deploys {' '.join(repo.refs)}, not {ref}"
    if "skip" in options:
        return f"the push asks for none ('tinyci run {repo.name}' on the server makes one)"
    if word := commit.skip_word(commit.message(git_dir, new)):
        return f"the commit's message says {word} ('tinyci run {repo.name}' on the server makes one)"
    return ""


def follow(queue: JobQueue) -> None:
    """Show the pusher the jobs that were started, in turn, until they have ended."""
    for job in queue.spooled:
        pusher.say(
            f"job {job} cannot be followed before Redis has it; then 'tinyci log -f {job}' on the server shows it."
        )
    if queue.started:
        import site

        site.main()  # hooks/post-receive begins without it
        from tinyci.cli import pushfollow  # three times what all the rest takes

        pushfollow.follow(queue.started)
