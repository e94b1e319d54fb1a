"""The program `tinyci`: runs the command that the command line names, and exits by it."""

import os
import sys

from tinyci.cli.commands import COMMANDS, parser
from tinyci.cli.exitstatus import INTERRUPTED, NOT_READ, CommandError


def main() -> None:
    """Run `tinyci`, with the exit statuses of exitstatus.py."""
    words = sys.argv[1:]
    if words[:1] == ["complete"]:
        from tinyci.cli import complete

        complete.run(words[1:])
        return
    arguments = parser(next((word for word in words if word in COMMANDS), "")).parse_args()
    try:
        status = arguments.run(arguments)
    except CommandError as failure:
        from tinyci.cli.terminal import safe

        print(f"tinyci: {safe(str(failure))}", file=sys.stderr)
        status = failure.status
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough, as head(1) does
        status = NOT_READ
    try:
        sys.stdout.flush()
    except OSError:
        status = status or NOT_READ
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more, and complain
    sys.exit(status)


if __name__ == "__main__":
    main()
