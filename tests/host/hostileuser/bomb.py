"""A fork bomb with a bound: python3 bomb.py PROCESSES COUNTS. It forks nothing unless the kernel holds the bound."""

import os
import resource
import sys

from counts import Counts


def explode(forks: int) -> None:
    """Fork without end; one that cannot makes room for another."""
    while True:
        try:
            os.fork()
        except OSError:
            os._exit(0)
        os.eventfd_write(forks, 1)


def main() -> None:
    bound = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NPROC, (bound, bound))
    if resource.getrlimit(resource.RLIMIT_NPROC) != (bound, bound) or os.getuid() == 0:  # root may go beyond it
        sys.exit("there is no bound to the number of processes")
    counts, forks = Counts(sys.argv[2]), os.eventfd(0, os.EFD_NONBLOCK)
    while True:
        try:
            if os.fork() == 0:
                explode(forks)
            os.eventfd_write(forks, 1)
            counts.add("forks", os.eventfd_read(forks))
        except OSError:
            pass
        while _has_ended_child():
            pass


def _has_ended_child() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


if __name__ == "__main__":
    main()
