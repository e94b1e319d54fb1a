"""The stopwatch of a job: how long its stages take, whatever is done to the clock of the host."""

from tinyci.daemon.hostaccess import HostAccess
from tinyci.model.timestamp import seconds


class Stopwatch:
    """Times stages that began in this process by the monotonic clock, and all others by their timestamps."""

    def __init__(self, host: HostAccess) -> None:
        self._host = host
        self._begins: dict[str, float] = {}
        """By timestamp: the time of the monotonic clock."""

    def start(self) -> str:
        """Return the timestamp of now, from which seconds() counts."""
        begin = self._host.now()
        self._begins[begin] = self._host.monotonic()
        return begin

    def seconds(self, begin: str) -> float | None:
        """Return the seconds since a timestamp, never negative; None for any other text."""
        if begin in self._begins:
            return self._host.monotonic() - self._begins[begin]
        time = seconds(begin)
        return None if time is None else max(0.0, self._host.time() - time)

    def duration(self, begin: str) -> str:
        """Return the seconds since a timestamp in the form of the hash's durations; empty for any other text."""
        duration = self.seconds(begin)
        return "" if duration is None else f"{duration:.6f}"
