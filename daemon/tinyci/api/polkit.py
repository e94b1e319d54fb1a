"""polkit: the authorization of callers.

Source: org.freedesktop.PolicyKit1.Authority in polkit(8). The actions' owner annotation lets this process, which is not
root, ask about others and with details (polkit/org.tinyci1.policy).
"""

from tinyci.dbus import names
from tinyci.dbus.bus import Bus, BusError, BusGoneError, Caller, ReplyError, Variant, caller
from tinyci.dbus.names import Action
from tinyci.model.repo import is_name
from tinyci.runtime.username import name_of

_ALLOW_USER_INTERACTION = 1
_PATIENCE = 20.0
_PATIENCE_WITH_A_PERSON = 120.0
"""Seconds that a person may take for a password."""
_PROBE_PATIENCE = 5.0


class Authority:
    """Authorizes the callers of our methods."""

    def __init__(self) -> None:
        self.bus: Bus | None = None
        """The connection that callers use, None while it is lost."""

    async def authorize(self, action: Action, repo: str = "") -> str:
        """Return the name of the user who calls the method that runs now, if the action on the repo is allowed to them.
        Raises ReplyError."""
        if repo and not is_name(repo):  # nor would polkit want to be asked about that
            raise ReplyError(names.NO_SUCH_REPO, f"{repo[:64]!r} is not the name of a repo")
        who, bus = caller(), self.bus
        if bus is None:
            raise ReplyError(names.SHUTTING_DOWN, "tinyci is not on the bus now; ask again")
        await _check(bus, who, action, repo)
        try:
            return name_of(await bus.user_of(who.name))
        except (BusError, BusGoneError) as error:
            raise ReplyError(names.ACCESS_DENIED, f"who asks is not known: {error}") from None


async def probe(bus: Bus) -> None:
    """Check that polkit has our actions and answers us about others. Raises BusError or BusGoneError."""
    (owner,) = await bus.call(*names.BUS, "GetNameOwner", "s", names.NAME, timeout=_PROBE_PATIENCE, returns="s")
    await _ask(bus, Caller(owner, interactive=False), Action.CANCEL, "", _PROBE_PATIENCE)


async def _check(bus: Bus, who: Caller, action: Action, repo: str) -> None:
    try:
        patience = _PATIENCE_WITH_A_PERSON if who.interactive else _PATIENCE
        is_allowed, is_challenge = await _ask(bus, who, action, repo, patience)
    except (BusError, BusGoneError) as error:
        raise ReplyError(names.ACCESS_DENIED, f"polkit cannot be asked: {error}") from None
    if is_allowed:
        return
    about = f"{action} for {repo}" if repo else action
    if is_challenge:
        raise ReplyError(
            names.AUTHORIZATION_REQUIRED,
            f"polkit wants an administrator to authenticate for {about}: ask as root, or with a rule that allows it",
        )
    raise ReplyError(names.ACCESS_DENIED, f"polkit does not allow you {about}")


async def _ask(bus: Bus, who: Caller, action: Action, repo: str, timeout: float) -> tuple[bool, bool]:
    """Return True if polkit allows the action, and True if it would after an authentication."""
    answer = await bus.call(
        *names.POLKIT,
        "CheckAuthorization",
        "(sa{sv})sa{ss}us",
        ["system-bus-name", {"name": Variant("s", who.name)}],
        action.value,
        {"repo": repo},
        _ALLOW_USER_INTERACTION if who.interactive else 0,
        "",
        timeout=timeout,
        returns="(bba{ss})",
    )
    is_allowed, is_challenge, _ = answer[0]
    return is_allowed, is_challenge
