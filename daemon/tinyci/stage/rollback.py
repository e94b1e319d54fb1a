"""The rollback stage: the names of the repo's images stand for what ran before the job's build again.

Runs as the repo's user, as `tinyci-rollback@HEX.service`. The daemon restarts and verifies the units then.
"""

import sys

from tinyci.model.stagecontract import Verdict
from tinyci.stage import order, podman
from tinyci.stage.images import Images
from tinyci.stage.order import Order, StageError


def main() -> None:
    """`tinyci-rollback HEX`: exits with 0, or with 1 and a Status that says what is wrong."""
    sys.exit(order.carry_out(run))


def run(given: Order) -> int:
    """Raises Refused, with the verdict `nothing` when no container ran before."""
    job, repo = given
    if not podman.is_there():
        raise StageError("podman is not installed, so no container ran before", Verdict.NOTHING)
    Images(repo).restore(job.hex)
    print(f"tinyci: the images that {', '.join(repo.units)} ran before have their names again", flush=True)
    return 0


if __name__ == "__main__":
    main()
