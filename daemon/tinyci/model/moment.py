"""Moments: times of one host that can be compared whatever is done to its clock."""

import re
from typing import NamedTuple, Protocol

from tinyci.model import timestamp

# sd_boot_id(3), and seconds of CLOCK_BOOTTIME (clock_gettime(2)).
_MOMENT = re.compile(r"([0-9a-f]{32}) ([0-9]{1,10}\.[0-9]{1,6})", re.ASCII)


class Moment(NamedTuple):
    """A moment, as the field `moment` of a job has it: `BOOT_ID SECONDS`."""

    boot_id: str
    """32 hexadecimal digits."""
    seconds: float
    """Seconds since that boot, suspended ones included."""

    def __str__(self) -> str:
        return f"{self.boot_id} {self.seconds:.6f}"

    @classmethod
    def parse(cls, text: str) -> "Moment | None":
        """Return the moment of a text; None for any other text."""
        match = _MOMENT.fullmatch(text)
        return cls(match[1], float(match[2])) if match else None


class Now(NamedTuple):
    """The present, by both clocks of the host."""

    time: float
    """Seconds since the epoch, as far as the host knows."""
    moment: Moment

    def moment_of_past(self, text: str) -> Moment | None:
        """Return the moment of a text; None for one that is to come, or for any other text."""
        moment = Moment.parse(text)
        is_to_come = moment and moment.boot_id == self.moment.boot_id and moment.seconds > self.moment.seconds
        return None if is_to_come else moment

    def age(self, time: float, moment_text: str) -> float:
        """Return the seconds since a push, never negative: by its moment if it was in this boot; else by its time, in
        seconds since the epoch. A time that is to come is a clock's that was wrong then, or is now: of that push no
        more is certain than that it is older than this boot."""
        moment = self.moment_of_past(moment_text)
        if moment and moment.boot_id == self.moment.boot_id:
            return self.moment.seconds - moment.seconds
        return self.time - time if time <= self.time else self.moment.seconds


class Push(Protocol):
    """Anything that says when it was pushed: a Job, a KeptJob."""

    @property
    def created(self) -> str:
        """Timestamp (model/timestamp.py), by the clock of the host."""

    @property
    def moment(self) -> str: ...


def is_older(push: Push, other: Push, now: Now) -> bool:
    """Return whether one was pushed before the other: by their moments, as far as they are of one boot or one is of
    this boot; else by their timestamps, of which one that is to come says nothing."""
    mine, others = now.moment_of_past(push.moment), now.moment_of_past(other.moment)
    if mine and others:
        if mine.boot_id == others.boot_id:
            return mine.seconds < others.seconds
        if now.moment.boot_id in (mine.boot_id, others.boot_id):
            return others.boot_id == now.moment.boot_id
    return _time(push, now) < _time(other, now)


def _time(push: Push, now: Now) -> float:
    time = timestamp.seconds(push.created)
    return time if time is not None and time <= now.time else 0.0
