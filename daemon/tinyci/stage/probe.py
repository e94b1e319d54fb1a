"""The units of a repo, looked at before its first push: `python3 -m tinyci.stage.probe UNIT…`, as the repo's user.

Prints one sentence on each unit that a deploy would refuse, or could not verify. doctor runs it.
"""

import sys

from tinyci.stage import images, judgement, podman, units
from tinyci.stage.podman import PodmanError
from tinyci.stage.status import StageError


def main() -> None:
    """Exits with 0, or with 2 when systemd or podman cannot be asked."""
    try:
        repo_units = units.read(sys.argv[1:])
        containers = images.containers_of_units(repo_units, podman.containers()) if podman.is_installed() else []
    except (StageError, PodmanError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    for sentence in judgement.doubts(repo_units, containers):
        print(sentence)


if __name__ == "__main__":
    main()
