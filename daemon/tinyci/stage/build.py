"""The build stage: a checkout of the revision, and the repository's own script, run in it.

Runs as the repo's user, as `tinyci-build@HEX.service`. Its output is the build's output, between two lines that only
the daemon reads; its result is the unit's Status and its exit status, which is the script's.
"""

from __future__ import annotations

import os
import signal
import sys

from tinyci.model.job import TIP
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict, first_line, last_line, tip_line
from tinyci.stage import checkout, process, runner, status, survivors
from tinyci.stage.stagejob import StageJob
from tinyci.stage.status import StageError
from tinyci.stage.survivors import SurvivorError

TYPE_CHECKING = False  # of typing; a repo without units needs none of these
if TYPE_CHECKING:
    from tinyci.stage.images import BuildResult, Images
    from tinyci.stage.podman import Listing

_STAGE_VARIABLES = frozenset({"NOTIFY_SOCKET", "CACHE_DIRECTORY", "STATE_DIRECTORY"})
"""Environment of the stage that the script does not get: with it a script could speak in the stage's name."""


def main() -> None:
    """`tinyci-build HEX`: exits with the script's status, or 1 with a Status that says why no script ran."""
    invocation = os.environ.get("INVOCATION_ID", "")
    print(first_line(invocation), flush=True)
    code = runner.run_stage(run)
    # The empty line ends what the script may have left without a newline; journald drops it otherwise.
    print("\n" + last_line(invocation), flush=True)
    sys.exit(code)


def run(stage_job: StageJob) -> int:
    """Check out, run the script, and return its exit status (128 + N when signal N ended it). Raises StageError.

    Remembers the images that run now, and judges the build by those that it made. A job that goes back to another one
    gets that one's images instead of a build.
    """
    job, repo = stage_job
    before = _listing(repo)
    if job.rollback_to:
        if not before:
            raise StageError(f"there is nothing to go back to: {repo.name} has no units, or podman is not installed")
        images = _images(stage_job, before)
        try:
            images.restore_job(job.rollback_to)
            print(f"tinyci: the images of job {job.rollback_to} have their names again", flush=True)
            _report(images.judge_build())
        except BaseException:
            images.put_back()
            raise
        return 0
    revision = job.revision
    if revision == TIP:
        revision = checkout.tip(repo.repository, job.ref)
        print(tip_line(job.ref, revision), flush=True)
    tree = _check_out(repo, revision)  # podman needs as long for its answer as git for the tree
    if not before:
        return _run_script(stage_job, tree)
    images = _images(stage_job, before)
    try:
        code = _run_script(stage_job, tree)
        if not code:
            _report(images.judge_build())
    except BaseException:
        images.put_back()
        raise
    if code:
        images.put_back()
    return code


def _report(result: BuildResult) -> None:
    if result.no_change:
        status.report(Verdict.UNCHANGED, result.no_change)
    elif result.remark:
        status.report(Verdict.REMARK, result.remark)


def _listing(repo: Repo) -> Listing | None:
    """Ask podman what runs; None if that is not needed, or there is no podman."""
    if not repo.units:
        return None
    from tinyci.stage import podman

    return podman.Listing() if podman.is_installed() else None


def _images(stage_job: StageJob, before: Listing) -> Images:
    """Return the images of the repo, with those remembered that run before the build."""
    from tinyci.stage.images import Images

    images = Images(stage_job.repo)
    images.remember(stage_job.job.hex, before)
    return images


def _check_out(repo: Repo, revision: str) -> str:
    cache = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if not cache:
        raise StageError("CACHE_DIRECTORY is not set: run this as tinyci-build@.service")
    try:
        return checkout.check_out(os.path.join(cache, repo.name), repo.repository, revision)
    except OSError as error:
        raise StageError(f"the work tree in {cache} cannot be written: {error.strerror} ({error.filename})") from None


def _run_script(stage_job: StageJob, tree: str) -> int:
    job, repo = stage_job
    script, commit = os.path.join(tree, repo.script), checkout.head(tree)
    if not os.path.isfile(script):
        raise StageError(f"the revision has no {repo.script}: add the script, executable, to the repository")
    first = _first_line(script)
    if first.startswith(b"#!") and first.endswith(b"\r\n"):
        raise StageError(
            f"{repo.script} has the line ends of Windows, with which no interpreter is found: "
            f"echo '{repo.script} text eol=lf' >>.gitattributes && git add .gitattributes && "
            f"git add --renormalize {repo.script} && git commit -m 'Give {repo.script} the line ends of Unix'"
        )
    interpreter: tuple[str, ...] = ()
    if not os.access(script, os.X_OK):
        # Some file systems have no modes, and git on them commits scripts without theirs.
        interpreter = _interpreter(first)
        if not interpreter:
            advice = f"chmod +x {repo.script} && git commit -am 'Make {repo.script} executable'"
            raise StageError(f"{repo.script} is neither executable nor begins with #!: {advice}")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _STAGE_VARIABLES},
        "CI": "true",
        "TINYCI_JOB": job.id,
        "TINYCI_REPO": repo.name,
        "TINYCI_REF": job.ref,
        "TINYCI_REVISION": commit,
        "PWD": tree,
    }
    # Stopping the unit signals every process of it: this one stays to report the script's end. A handler, since the
    # script would inherit an ignored signal.
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stops.append(number))
    try:
        child = process.start_script((*interpreter, script, commit), tree, environment)
    except OSError as error:
        raise StageError(
            f"{repo.script} cannot be run: {error.strerror}; is its first line a #! that exists here?"
        ) from None
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code >= 0 and not stops:
        _save_survivors(job.hex)
    if code < 0:
        status.report(Verdict.FAILED, f"{repo.script} was killed by {_signal_name(-code)}")
        return 128 - code
    if code:
        status.report(Verdict.FAILED, f"{repo.script} exited with status {code}")
    return code


def _save_survivors(instance: str) -> None:
    """Let the containers that the script has started live on, and say so."""
    try:
        if names := survivors.save(instance):
            print(f"tinyci: left running: {', '.join(names)}; no reboot starts a container again, units do", flush=True)
    except SurvivorError as error:
        print(f"tinyci: {error}", flush=True)
        status.report(Verdict.REMARK, str(error))


def _first_line(script: str) -> bytes:
    with open(script, "rb") as file:
        return file.readline(256)


def _interpreter(line: bytes) -> tuple[str, ...]:
    """Return the interpreter that the first line of a script names, with its argument, as the kernel takes them
    (execve(2)); empty when it names none."""
    words = line.removeprefix(b"#!").split(None, 1) if line.startswith(b"#!") else []
    return tuple(os.fsdecode(word.strip()) for word in words)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals
        return f"signal {number}"


if __name__ == "__main__":
    main()
