"""A polkit on the test's bus. Of the real one no test could choose the answers; tests/host asks that."""
# D-Bus signatures stand where annotations do (dbus-next's way).
# ruff: noqa: F722, F821

import asyncio
from typing import Any

from tinyci.dbus.bus import ServiceInterface, method


class FakePolkit(ServiceInterface):  # type: ignore[misc]
    """Gives the verdict that the test chooses, and notes the questions."""

    def __init__(self) -> None:
        super().__init__("org.freedesktop.PolicyKit1.Authority")
        self.verdict = (True, False)
        """True if it is allowed, and true if it were after an authentication."""
        self.questions: list[tuple[str, dict[str, str], int]] = []
        """Action, details and flags of each question."""
        self.subjects: list[list[Any]] = []
        self.has_question = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @method()
    async def CheckAuthorization(
        self, subject: "(sa{sv})", action: "s", details: "a{ss}", flags: "u", cancellation: "s"
    ) -> "(bba{ss})":
        self.subjects.append([subject[0], {key: value.value for key, value in subject[1].items()}])
        self.questions.append((action, details, flags))
        self.has_question.set()
        await self.may_answer.wait()
        return [*self.verdict, {}]
