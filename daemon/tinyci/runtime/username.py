"""The name of a user."""

import pwd


def name_of(uid: int) -> str:
    """Return the name of a user; of one without a name, the uid."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
