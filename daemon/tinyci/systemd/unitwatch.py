"""The state of one unit, as its manager's signals tell it. Source: org.freedesktop.systemd1(5)."""

import asyncio
from typing import Any

from tinyci.systemd import replies
from tinyci.systemd.replies import NonsenseError
from tinyci.systemd.unit import SERVICE_CHANGES, UNIT_CHANGES


class UnitWatch:
    """A unit of which each change is signalled.

    A manager signals a change of a unit by two messages, one right after the other: the properties of its kind, here
    of a service, and then those of any unit ("the clients may rely on this order to get atomic behavior", dbus-unit.c).
    Each has the values of all that may change. Answers of the same manager come in order with them.
    """

    def __init__(self, name: str) -> None:
        self.news = asyncio.Event()
        """Set at each change."""
        self.properties: dict[str, Any] | None = None
        """The properties now; None while they have to be asked for."""
        self._is_service = name.endswith(".service")
        self._service_changes: dict[str, Any] = {}
        """The first half of a change."""

    def take(self, body: Any) -> None:
        """Take a signal of the unit."""
        try:
            interface, changes = replies.changed_properties(body)
        except NonsenseError:
            self._note_change(None)
            return
        if interface == replies.SERVICE:
            self._service_changes = changes
        elif interface == replies.UNIT:
            is_whole = changes.keys() >= UNIT_CHANGES
            if self._is_service:
                is_whole = is_whole and self._service_changes.keys() >= SERVICE_CHANGES
                changes |= self._service_changes
            self._service_changes = {}
            self._note_change(changes if is_whole else None)

    def _note_change(self, changes: dict[str, Any] | None) -> None:
        """Take over what has changed; None if that is not known."""
        if self.properties is not None:
            self.properties = None if changes is None else self.properties | changes
        self.news.set()
