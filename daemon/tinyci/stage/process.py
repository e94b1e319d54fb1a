"""A process of a stage: a command, its input, and all that it prints.

`subprocess`, with threads and selectors, takes as long to import as a small job's git takes to run.
"""

import os
import select
from collections.abc import Mapping, Sequence

_INPUT, _OUTPUT, _ERRORS = 0, 1, 2
_SIGNALS = (13, 25)
"""SIGPIPE and SIGXFSZ, which Python ignores and a program does not expect to be ignored (signal(7))."""
_SIGKILL = 9
_CHUNK = 1 << 20


class Process:
    """A process that was started. Everything raises OSError."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], stdin: bytes = b"") -> None:
        # Files in memory, unlike pipes, hold neither side up; those that the process leaves behind neither.
        self._files = [os.memfd_create("tinyci") for _ in (_INPUT, _OUTPUT, _ERRORS)]
        try:
            _write(self._files[_INPUT], stdin)
            actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(self._files)]
            self._pid = os.posix_spawnp(
                command[0], list(command), environment, file_actions=actions, setsigdef=_SIGNALS
            )
        except BaseException:
            self._close()
            raise

    def wait(self, timeout: float | None = None) -> tuple[int, bytes, bytes]:
        """Return, when it has ended, its exit status (-N when signal N ended it), its output and its errors. Raises
        TimeoutError when it has not ended within so many seconds; it is killed then."""
        is_late = timeout is not None and not self._has_ended_within(timeout)
        if is_late:
            os.kill(self._pid, _SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        try:
            if is_late:
                raise TimeoutError
            return os.waitstatus_to_exitcode(status), _read(self._files[_OUTPUT]), _read(self._files[_ERRORS])
        finally:
            self._close()

    def _has_ended_within(self, timeout: float) -> bool:
        descriptor = os.pidfd_open(self._pid)
        try:
            return bool(select.select((descriptor,), (), (), timeout)[0])
        finally:
            os.close(descriptor)

    def _close(self) -> None:
        for file in self._files:
            os.close(file)


def start_script(command: Sequence[str], directory: str, environment: Mapping[str, str]) -> int:
    """Run a command in a directory, without input, with the output of this process, and return its id. Raises
    OSError."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        actions = [(os.POSIX_SPAWN_OPEN, _INPUT, os.devnull, os.O_RDONLY, 0)]
        return os.posix_spawn(command[0], list(command), environment, file_actions=actions, setsigdef=_SIGNALS)
    finally:
        os.chdir(before)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
    os.lseek(file, 0, os.SEEK_SET)


def _read(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as stream:
        return stream.read()
