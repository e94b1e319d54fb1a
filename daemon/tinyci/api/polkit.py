"""polkit: whether a caller may do what it asks of us.

Source: org.freedesktop.PolicyKit1.Authority. The actions' owner annotation lets this process, which is not root, ask
about others and with details (polkit/org.tinyci1.policy).
"""

import pwd
from collections.abc import Awaitable
from typing import TypeVar

from tinyci.api.requests import RequestError
from tinyci.dbus import names
from tinyci.dbus.bus import Bus, BusError, BusGoneError, Caller, ReplyError, Variant, caller
from tinyci.model.repo import is_name

T = TypeVar("T")

_ASK_A_PERSON = 1
_PATIENCE = 120.0
"""Seconds that a person may take for a password."""


async def check(bus: Bus, who: Caller, action: str, repo: str) -> None:
    """Return when the caller may do `action` (`org.tinyci1.…`) to that repo, and raise DBusReply when not."""
    try:
        answer = await bus.call(
            *names.POLKIT,
            "CheckAuthorization",
            "(sa{sv})sa{ss}us",
            ["system-bus-name", {"name": Variant("s", who.name)}],
            action,
            {"repo": repo},
            _ASK_A_PERSON if who.interactive else 0,
            "",
            timeout=_PATIENCE if who.interactive else 20.0,
        )
    except (BusError, BusGoneError) as error:
        raise ReplyError(names.ACCESS_DENIED, f"polkit cannot be asked: {error}") from None
    allowed, challenge, _ = answer[0]
    if allowed:
        return
    about = f"{action} for {repo}" if repo else action
    if challenge:
        raise ReplyError(
            names.AUTHORIZATION_REQUIRED,
            f"polkit wants an administrator to authenticate for {about}: ask as root, or with a rule that allows it",
        )
    raise ReplyError(names.ACCESS_DENIED, f"polkit does not allow you {about}")


async def answers(bus: Bus) -> None:
    """Return when polkit knows our actions and answers us about others. Raises BusError or BusGone."""
    somebody = (await bus.call(*names.BUS, "GetNameOwner", "s", names.NAME, timeout=5.0))[0]
    subject = ["system-bus-name", {"name": Variant("s", somebody)}]
    body = (subject, f"{names.NAME}.cancel", {"repo": ""}, 0, "")
    await bus.call(*names.POLKIT, "CheckAuthorization", "(sa{sv})sa{ss}us", *body, timeout=5.0)


class Authority:
    """Who asks over our bus, whether they may, and how a refusal is told."""

    def __init__(self) -> None:
        self.bus: Bus | None = None

    async def allow(self, verb: str, repo: str) -> int:
        """The uid of the caller of the method that runs now, who may do that. Raises DBusReply."""
        if repo and not is_name(repo):  # nor would polkit want to be asked about that
            raise ReplyError(names.NO_SUCH_REPO, f"{repo[:64]!r} is not the name of a repo")
        who, bus = caller(), self.bus
        if bus is None:
            raise ReplyError(names.SHUTTING_DOWN, "tinyci is not on the bus now; ask again")
        await check(bus, who, f"{names.NAME}.{verb}", repo)
        try:
            return await bus.user_of(who.name)
        except (BusError, BusGoneError) as error:
            raise ReplyError(names.ACCESS_DENIED, f"who asks is not known: {error}") from None

    async def carry_out(self, request: Awaitable[T]) -> T:
        """What the request returns. Raises DBusReply."""
        try:
            return await request
        except RequestError as error:
            raise ReplyError(f"{names.ERROR}.{error.name}", str(error)) from None


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
