"""The list of commands, and the parser of their arguments."""

import argparse
import importlib
from collections.abc import Mapping

from tinyci import __version__
from tinyci.model.state import FINAL

COMMANDS: Mapping[str, str] = {
    "jobs": "live and recent jobs, oldest first",
    "show": "all that is known of a job",
    "log": "what a job's build printed",
    "events": "what happens to jobs, as it happens",
    "wait": "wait for the end of a job",
    "run": "deploy a repo as it is now, without a push",
    "retry": "deploy the revision of a job again",
    "rollback": "deploy what ran before",
    "cancel": "end a job that waits or builds",
    "pause": "begin no job until resume",
    "resume": "begin jobs again",
    "status": "what goes on now",
    "repos": "what is deployed, from where, as whom",
    "doctor": "examine all that deploys need, with a mend for what is wrong",
}
"""Each is the module of that name here, with add_arguments() and run(), imported when the command line names it."""

_STATUSES = ", ".join(
    f"{status} {state.clause}" for status, state in sorted((s.row.exit_status, s) for s in FINAL) if status
)
_EPILOG = f"""\
JOB is the id of a job or the beginning of one, '@' for the newest job, or a repo's name for its newest job.

exit status: 0 done, or the job succeeded; 1 the daemon will not, or something is wrong; 2 usage; 3 no such job or repo;
4 not allowed; 5 no daemon. wait, log -f and run --wait end with the job:
{_STATUSES}. See tinyci(1)."""


def parser(command: str) -> argparse.ArgumentParser:
    """The parser of all commands; only `command` knows its arguments."""
    whole = argparse.ArgumentParser(
        prog="tinyci",
        description="Asks the daemon of tinyci about its jobs, and for them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"tinyci {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        module = importlib.import_module(f"tinyci.cli.{name}") if name == command else None
        sub = commands.add_parser(
            name, help=text, description=(module.__doc__ if module else None) or text, allow_abbrev=False
        )
        if module:
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return whole
