"""The account of a user that units run as: its uid, and whether it lingers. Source: loginctl(1)."""

import os
import pwd

from tinyci.systemd.manager import ManagerDownError

_LINGER = "/var/lib/systemd/linger"


def uid_of(user: str) -> int:
    """Return the uid of a user. Raises ManagerDownError when there is no such user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ManagerDownError(
            f"there is no user {user} on this host: create it, or change 'user' in the repo's file"
        ) from None


def is_lingering(user: str) -> bool:
    """True if the user's manager runs without a login."""
    return os.path.exists(f"{_LINGER}/{user}")
