"""Role just where there is nothing to build: it says why, and leaves apt as it was."""

from collections.abc import Iterator

import pytest
from testhost import TREE, TestHost

SCRIPT = TREE / "ansible" / "roles" / "just" / "files" / "build.sh"
ARCHIVE = "/run/just-test"
BINARY, SOURCE = "main/binary-amd64/Packages", "main/source/Sources"
PACKAGE = "Package: x\nVersion: 1\nArchitecture: amd64\nFilename: x.deb\nSize: 1\n"
RELEASE = (
    "Origin: Debian\nCodename: test\nDate: Sun, 02 Feb 2020 00:00:00 UTC\n"
    "Components: main\nArchitectures: amd64\nSHA256:\n"
)
PLACE = f"Types: deb\nURIs: file:{ARCHIVE}\nSuites: test\nComponents: main\n"
BUILT = "echo 1.0-1 >/usr/local/share/just/source-version; install /usr/bin/true /usr/local/bin/just\n"
NO_LISTS = "apt has none of Debian's lists of source packages, which just is built from: see what 'apt-get update' says"
NO_SOURCE = "this Debian has no source package rust-just, so just is left out"


def source(name: str) -> str:
    return f"Package: {name}\nBinary: x\nVersion: 1.0-1\nDirectory: pool\nFiles:\n {'0' * 32} 1 x.dsc\n"


@pytest.fixture
def another_debian(server: TestHost) -> Iterator[str]:
    """Yield a script that makes the host a server of another Debian for one shell: of one that has its packages from a
    directory, without a signature."""
    server.sh(
        f"mkdir -p {ARCHIVE}/places && cd {ARCHIVE} && mkdir -p $(dirname dists/test/{BINARY} dists/test/{SOURCE})"
    )
    try:
        yield (
            f"cd {ARCHIVE}/dists/test && mount --bind {ARCHIVE}/places /etc/apt/sources.list.d &&\n"
            "{ [ ! -e /etc/apt/sources.list ] || mount --bind /dev/null /etc/apt/sources.list; } &&\n"
            "mount -t tmpfs lists /var/lib/apt/lists && mount -t tmpfs local /usr/local || exit 9\n"
            "mkdir -p /usr/local/share/just /usr/local/bin\n"
            f"printf '{PACKAGE}' >{BINARY}; printf '{RELEASE}' >Release\n"
            f"for file in {BINARY} $(ls {SOURCE}); do\n"
            'echo " $(sha256sum <$file | cut -d " " -f 1) $(stat -c %s $file) $file" >>Release; done\n'
            f"export APT_CONFIG={ARCHIVE}/apt.conf; echo 'Acquire::AllowInsecureRepositories \"true\";' >$APT_CONFIG\n"
            "apt-get -qq update\n"
        )
    finally:
        server.sh(f"rm -r {ARCHIVE}")


@pytest.mark.parametrize(
    ("place", "sources", "before", "status", "sentence"),
    [
        (PLACE, "", "", 1, NO_LISTS),
        (f"{PLACE}Trusted: yes\n", source("rust-just"), "", 1, NO_LISTS),  # which our line for sources would contradict
        (PLACE, source("other"), "", 0, NO_SOURCE),
        (PLACE, source("rust-just"), BUILT, 0, ""),
    ],
    ids=["no lists", "a contradiction", "no source", "built already"],
)
def test_it_says_why_it_builds_nothing(
    server: TestHost, another_debian: str, place: str, sources: str, before: str, status: int, sentence: str
) -> None:
    fill = f"printf '{sources}' >{ARCHIVE}/dists/test/{SOURCE}\n" if sources else ""
    server.sh(f"printf '{place}' >{ARCHIVE}/places/debian.sources; {fill}")
    build = f"{another_debian}{before}sh {ARCHIVE}/build.sh; status=$?; apt-get -qq check >&2 || exit 8; exit $status"
    server.sh(f"cat >{ARCHIVE}/build.sh", stdin=SCRIPT.read_text())
    result = server.run("unshare --mount sh -s", stdin=build)
    assert (result.status, sentence in (result.err if status else result.out)) == (status, True), result.text
    assert bool(result.out) == (sentence == NO_SOURCE)
