"""polkit: whether a caller may do what it asks of us.

Source: org.freedesktop.PolicyKit1.Authority. The actions' owner annotation lets this process, which is not root, ask
about others and with details (polkit/org.tinyci1.policy).
"""

from tinyci.bus import Bus, BusError, BusGone, Caller, DBusReply, Variant

_NAME = "org.freedesktop.PolicyKit1"
_ASK_A_PERSON = 1
_PATIENCE = 120.0
"""Seconds that a person may take for a password."""


async def check(bus: Bus, who: Caller, action: str, repo: str) -> None:
    """Return when the caller may do `action` (`org.tinyci1.…`) to that repo, and raise DBusReply when not."""
    try:
        answer = await bus.call(
            _NAME,
            "/org/freedesktop/PolicyKit1/Authority",
            f"{_NAME}.Authority",
            "CheckAuthorization",
            "(sa{sv})sa{ss}us",
            ["system-bus-name", {"name": Variant("s", who.name)}],
            action,
            {"repo": repo},
            _ASK_A_PERSON if who.interactive else 0,
            "",
            timeout=_PATIENCE if who.interactive else 20.0,
        )
    except (BusError, BusGone) as error:
        raise DBusReply("org.freedesktop.DBus.Error.AccessDenied", f"polkit cannot be asked: {error}") from None
    allowed, challenge, _ = answer[0]
    if allowed:
        return
    about = f"{action} for {repo}" if repo else action
    if challenge:
        raise DBusReply(
            "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
            f"polkit wants an administrator to authenticate for {about}: ask as root, or with a rule that allows it",
        )
    raise DBusReply("org.freedesktop.DBus.Error.AccessDenied", f"polkit does not allow you {about}")


async def answers(bus: Bus) -> None:
    """Return when polkit knows our actions and answers us about others. Raises BusError or BusGone."""
    dbus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    somebody = (await bus.call(*dbus, "GetNameOwner", "s", "org.tinyci1", timeout=2.0))[0]
    subject = ["system-bus-name", {"name": Variant("s", somebody)}]
    body = (subject, "org.tinyci1.cancel", {"repo": ""}, 0, "")
    authority = ("/org/freedesktop/PolicyKit1/Authority", f"{_NAME}.Authority")
    await bus.call(_NAME, *authority, "CheckAuthorization", "(sa{sv})sa{ss}us", *body, timeout=2.0)
