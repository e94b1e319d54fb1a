"""The frame of every stage's program: from the command line to the exit status."""

import io
import sys
from collections.abc import Callable

from tinyci.stage import stagejob, status
from tinyci.stage.stagejob import StageJob
from tinyci.stage.status import StageError


def run_stage(stage: Callable[[StageJob], int]) -> int:
    """Run a stage for the job that the command line names, and return its exit status. Nothing that a user of ours
    can cause ends in a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Refs and paths may be of any bytes, and the user's locale may be strict.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return stage(stagejob.load(sys.argv[1] if len(sys.argv) == 2 else ""))
    except StageError as error:
        return fail(error)
    except OSError as error:
        return fail(StageError(str(error)))


def fail(error: StageError) -> int:
    """Tell the journal and the daemon why the stage ends, and return the exit status for it."""
    print(f"tinyci: {error}", flush=True)
    status.report(error.verdict, str(error))
    return 1
