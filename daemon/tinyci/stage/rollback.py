"""The rollback stage: the names of the repo's images stand for the images before the job's build again.

Runs as the repo's user, as `tinyci-rollback@HEX.service`. The daemon restarts and verifies the units then.
"""

import sys

from tinyci.model.stagecontract import Verdict
from tinyci.stage import podman, runner
from tinyci.stage.images import Images
from tinyci.stage.stagejob import StageJob
from tinyci.stage.status import StageError


def main() -> None:
    """`tinyci-rollback HEX`: exits with 0, or with 1 and a Status that says what is wrong."""
    sys.exit(runner.run_stage(run))


def run(stage_job: StageJob) -> int:
    """Raises StageError, with the verdict `nothing` when no container ran before."""
    job, repo = stage_job
    if not podman.is_installed():
        raise StageError("podman is not installed, so no container ran before", Verdict.NOTHING)
    Images(repo).restore_previous(job.hex)
    print(f"tinyci: the images that {', '.join(repo.units)} ran before have their names again", flush=True)
    return 0


if __name__ == "__main__":
    main()
