"""The command line: asks the daemon over D-Bus and prints what it says."""

import argparse
import asyncio
import sys
from typing import Any

from tinyci import __version__
from tinyci.api import NAME, PATH, PROPERTIES
from tinyci.bus import Bus, BusError, BusGone

_PROPERTIES = "org.freedesktop.DBus.Properties"


def main() -> None:
    """`tinyci`. Exits with 1 when the daemon says no or cannot be asked, and with 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="tinyci", description="Jobs of tinyci, as its daemon tells them.")
    parser.add_argument("--version", action="version", version=f"tinyci {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("jobs", help="live and recent jobs, oldest first")
    show = commands.add_parser("show", help="all that is known of one job")
    show.add_argument("id", help="the id, or the beginning of one")
    arguments = parser.parse_args()
    try:
        asyncio.run(_jobs() if arguments.command == "jobs" else _show(arguments.id))
    except BusError as error:
        unknown = error.name == "org.freedesktop.DBus.Error.ServiceUnknown"
        sys.exit("tinyci: the daemon does not run: systemctl start tinyci" if unknown else f"tinyci: {error}")
    except BusGone as error:
        sys.exit(f"tinyci: {error}")


async def _jobs() -> None:
    bus = await Bus.connect()
    for job_id, repo, ref, state, _ in await _list(bus):
        print(f"{job_id}  {state:<12}  {repo}  {ref}")
    await bus.close()


async def _show(prefix: str) -> None:
    bus = await Bus.connect()
    found = [path for job_id, *_, path in await _list(bus) if job_id.startswith(prefix)]
    if len(found) != 1:
        which = "several jobs have ids that begin" if found else "no live or recent job has an id that begins"
        raise BusError(f"{NAME}.Error.NoSuchJob", f"{which} with {prefix!r}: see 'tinyci jobs'")
    values = (await bus.call(NAME, found[0], _PROPERTIES, "GetAll", "s", f"{NAME}.Job"))[0]
    await bus.close()
    for name, kind, _ in PROPERTIES:
        value = values[name].value
        if name != "Output" and value not in ("", -1, 0.0):
            print(f"{name:>15}: {value if kind != 'd' else f'{value:.3f} s'}")
    if values["Output"].value:
        print("\n" + values["Output"].value, end="")


async def _list(bus: Bus) -> list[Any]:
    jobs: list[Any] = (await bus.call(NAME, PATH, f"{NAME}.Manager", "ListJobs"))[0]
    return jobs


if __name__ == "__main__":
    main()
