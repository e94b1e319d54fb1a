"""The build stage: checks the revision out and runs the repository's own script in it.

Runs as the repo's user, as `tinyci-build@HEX.service`. Its output is the build's output, ended by a line that only
the daemon reads; what it has to say about the result is the unit's Status and its exit status, which is the script's.
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tinyci.model.job import TIP
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict, first_line, last_line, tip_line
from tinyci.stage import checkout, order, podman
from tinyci.stage.images import Images
from tinyci.stage.order import Order, StageError


def main() -> None:
    """`tinyci-build HEX`: exits with the script's status, or 1 with a Status that says why it was not run."""
    invocation = os.environ.get("INVOCATION_ID", "")
    print(first_line(invocation), flush=True)
    code = order.carry_out(run)
    # The empty line ends what the script may have left without a newline; journald drops it otherwise.
    print("\n" + last_line(invocation), flush=True)
    sys.exit(code)


def run(given: Order) -> int:
    """Check out, run the script, and return its exit status (128 + N when signal N ended it). Raises Refused.

    The images that run now are remembered first, and the build is judged by those that it made. A job that goes back
    to what another one deployed has those images instead of a build.
    """
    job, repo = given
    images = _images(repo)
    if job.rollback_to:
        if not images:
            raise StageError(f"there is nothing to go back to: {repo.name} has no units, or podman is not installed")
        images.remember(job.hex)
        images.go_back_to(job.rollback_to)
        print(f"tinyci: the images of job {job.rollback_to} have their names again", flush=True)
        images.judge_build()
        return 0
    revision = job.revision
    if revision == TIP:
        revision = checkout.tip(repo.repository, job.ref)
        print(tip_line(job.ref, revision), flush=True)
    with ThreadPoolExecutor(1) as beside:  # podman needs as long as git does
        remembered = beside.submit(images.remember, job.hex) if images else None
        tree = _checkout(repo, revision)
        if remembered:
            remembered.result()
    code = _run_script(given, tree)
    if not code and images and (remark := images.judge_build()):
        order.report(Verdict.REMARK, remark)
    return code


def _images(repo: Repo) -> Images | None:
    return Images(repo) if repo.units and podman.is_there() else None


def _checkout(repo: Repo, revision: str) -> Path:
    cache = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if not cache:
        raise StageError("CACHE_DIRECTORY is not set: run this as tinyci-build@.service")
    try:
        return checkout.at(Path(cache) / repo.name, repo.repository, revision)
    except OSError as error:
        raise StageError(f"the work tree in {cache} cannot be written: {error.strerror} ({error.filename})") from None


def _run_script(given: Order, tree: Path) -> int:
    job, repo = given
    script, commit = tree / repo.script, checkout.head(tree)
    if not script.is_file():
        raise StageError(f"the revision has no {repo.script}: add the script, executable, to the repository")
    if not os.access(script, os.X_OK):
        raise StageError(f"{repo.script} is not executable: git update-index --chmod=+x {repo.script}")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _OURS},
        "CI": "true",
        "TINYCI_JOB": job.id,
        "TINYCI_REPO": repo.name,
        "TINYCI_REF": job.ref,
        "TINYCI_REVISION": commit,
        "PWD": str(tree),
    }
    # Stopping the unit signals every process of it: this one stays to tell how the script took it. A handler, since
    # the script would inherit it if the signal were ignored.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        child = subprocess.Popen((script, commit), cwd=tree, env=environment, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise StageError(
            f"{repo.script} cannot be run: {error.strerror}; is its first line a #! that exists here?"
        ) from None
    code = child.wait()
    if code < 0:
        order.report(Verdict.FAILED, f"{repo.script} was killed by {_name(-code)}")
        return 128 - code
    if code:
        order.report(Verdict.FAILED, f"{repo.script} exited with status {code}")
    return code


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals
        return f"signal {number}"


_OURS = frozenset({"NOTIFY_SOCKET", "CACHE_DIRECTORY", "STATE_DIRECTORY"})


if __name__ == "__main__":
    main()
