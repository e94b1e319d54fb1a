"""Debian's packages, and commands that install them as the roles do, without a question."""

# As the role podman has them (tests/unit/test_doctor.py holds them together).
PODMAN = (
    "podman",
    "crun",
    "netavark",
    "aardvark-dns",
    "uidmap",
    "passt",
    "slirp4netns",
    "dbus-user-session",
    "libpam-systemd",
    "catatonit",
    "nftables",
)


def install(*names: str) -> str:
    return f"apt-get install --yes --no-install-recommends {' '.join(names)}"


def again(name: str) -> str:
    """The command for a package that dpkg takes for installed."""
    return f"apt-get install --yes --no-install-recommends --reinstall {name}"
