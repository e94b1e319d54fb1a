"""The base image: the file tree of a fresh Debian server, made once per recipe and copied for each host.

An image is a directory with `root`, the tree, and `apt`, where the tree's largest files are kept apart (APT).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from common import CACHE, HostCommandError, locked, run_logged, say

SUITES = ("trixie", "testing")
PACKAGES = Path(__file__).with_name("packages")
UNUSED_DAYS = 7

# Files that apt only ever replaces and never changes, so that hosts can share them as hard links: half of the tree.
APT = ("var/cache/apt", "var/lib/apt/lists")

# What a server has when a person gets it, and no more: the project's roles bring the rest.
FRESH_SERVER = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)

# Speed, and nothing that a test could miss.
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
)

# Run by a shell with the new tree as $1. The packages are resolved together, with and without what is merely
# recommended, and one by one, since apt chooses differently between alternatives each time.
CUSTOMIZE = r"""
set -eu
packages=$(sed -e '/^#/d' -e '/^$/d' "$PACKAGES")
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
wanted=
for package in $packages; do
    if apt-cache show "$package" >/dev/null 2>&1; then wanted="$wanted $package"; fi
done
apt-get clean
apt-get install --yes --download-only --install-recommends $wanted
apt-get install --yes --download-only --no-install-recommends $wanted
for package in $wanted; do
    apt-get install --yes --download-only --no-install-recommends "$package"
done
unset APT_CONFIG
# In the words of the tree's own apt, so that no host has to work it out again.
chroot "$1" apt-cache gencaches
chroot "$1" useradd --create-home --shell /bin/bash admin
printf 'admin ALL=(ALL) NOPASSWD: ALL\n' >"$1/etc/sudoers.d/admin"
chmod 0440 "$1/etc/sudoers.d/admin"
printf 'LANG=C.UTF-8\n' >"$1/etc/default/locale"
# There is no kernel of the host's own to load modules into; its failure would make every boot "degraded".
ln -s /dev/null "$1/etc/systemd/system/systemd-modules-load.service"
# Device nodes of the host's own, with the modes that udev gives them on a real server.
cat >"$1/etc/tmpfiles.d/test-host.conf" <<'END'
c /dev/fuse 0666 root root - 10:229
d /dev/net 0755 root root -
c /dev/net/tun 0666 root root - 10:200
END
"""


def _recipe(suite: str) -> str:
    return "\n".join([suite, *APT, *FRESH_SERVER, *DPKG_OPTIONS, CUSTOMIZE, PACKAGES.read_text()])


def copy_base_image(suite: str, root: Path) -> None:
    """Make the tree `root` from the suite's base image; make that first, if need be."""
    key = hashlib.sha256(_recipe(suite).encode()).hexdigest()[:12]
    image = CACHE / "base" / f"{suite}-{key}"
    with locked(CACHE / "base.lock"):
        if not image.exists():
            _make(suite, image)
        os.utime(image)
        _remove_unused(keep=image)
    with locked(CACHE / "base.lock", shared=True):
        start = time.monotonic()
        subprocess.run(["cp", "--archive", "--reflink=auto", image / "root", root], check=True)
        for directory in APT:
            subprocess.run(["cp", "--archive", "--link", image / "apt" / directory, root / directory], check=True)
        say("copied the base image", start)


def _make(suite: str, image: Path) -> None:
    if not shutil.which("mmdebstrap"):
        raise HostCommandError("mmdebstrap is not installed: run tests/prepare")
    image.parent.mkdir(parents=True, exist_ok=True)
    # Only a finished image gets the name that says so. Whatever has another was cut off: we hold the lock.
    for remains in image.parent.glob("*.unfinished"):
        shutil.rmtree(remains)
    start = time.monotonic()
    say(f"make the base image of {suite} (once, a minute or so)")
    unfinished = image.with_name(f"{image.name}.unfinished")
    unfinished.mkdir()
    hook = unfinished / "customize"
    hook.write_text(f"#!/bin/sh\n{CUSTOMIZE}")
    hook.chmod(0o755)
    root = unfinished / "root"
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(FRESH_SERVER)}"]
    command += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    if suite == "testing":  # its lists are signed for a week, and a mirror may be behind
        command.append('--aptopt=Acquire::Check-Valid-Until "false"')
    command += ["--skip=cleanup/apt/lists,cleanup/apt/cache", f"--customize-hook={hook}", suite, str(root)]
    try:
        run_logged(command, CACHE / "base" / f"{suite}.log", env={**os.environ, "PACKAGES": str(PACKAGES)})
        for directory in APT:
            (unfinished / "apt" / directory).parent.mkdir(parents=True)
            (root / directory).rename(unfinished / "apt" / directory)
        # A lock must be each host's own: apt makes it anew.
        for lock in (unfinished / "apt").rglob("lock"):
            lock.unlink()
        unfinished.rename(image)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
    size = subprocess.run(["du", "-sm", image], capture_output=True, text=True, check=True).stdout.split()[0]
    say(f"made the base image of {suite}, {size} MB", start)


def _remove_unused(keep: Path) -> None:
    """Remove images of other recipes (of another package list) that nobody has used for a week."""
    for image in keep.parent.glob("*/"):
        if image != keep and time.time() - image.stat().st_mtime > UNUSED_DAYS * 86400:
            shutil.rmtree(image)
