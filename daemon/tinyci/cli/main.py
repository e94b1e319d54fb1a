"""The command line: which command was given, and how it ends."""

import signal
import sys
from contextlib import suppress

from tinyci.cli.commands import COMMANDS, parser
from tinyci.cli.outcome import INTERRUPTED, Failure


def main() -> None:
    """`tinyci`, with the exit statuses of outcome.py."""
    # Who reads us may stop, as head(1) does; that is no error of ours.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    words = sys.argv[1:]
    if words[:1] == ["complete"]:
        from tinyci.cli import complete

        complete.run(words[1:])
        return
    arguments = parser(next((word for word in words if word in COMMANDS), "")).parse_args()
    try:
        status = arguments.run(arguments)
    except Failure as failure:
        print(f"tinyci: {failure}", file=sys.stderr)
        status = failure.status
    except KeyboardInterrupt:
        status = INTERRUPTED
    with suppress(OSError):
        sys.stdout.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
