"""Units beside those of the sample apps, while a block runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from testhost import TestHost


@contextmanager
def unit_files(server: TestHost, user: str, files: dict[str, str]) -> Iterator[None]:
    """Install units for that user's manager, as files of /etc, and let tinyci restart them; remove them in the end.

    A file named `.container` is a Quadlet.
    """
    systemctl = "systemctl" if user == "root" else f"systemctl --user -M {user}@"
    folder = "/etc/systemd/system" if user == "root" else "/etc/systemd/user"
    quadlets = "/etc/containers/systemd"
    if user != "root":
        quadlets += f"/users/{server.sh(f'id -u {user}').strip()}"
    paths = {f"{quadlets if name.endswith('.container') else folder}/{name}": text for name, text in files.items()}
    units = [name.replace(".container", ".service") for name in files]
    rules = "/etc/polkit-1/rules.d/40-tinyci-tests.rules"
    try:
        for path, text in paths.items():
            server.sh(f"cat >{path}", stdin=text)
        if user == "root":
            server.sh(
                f"cat >{rules}; systemctl reset-failed polkit; systemctl restart polkit",
                stdin=f"polkit.tinyciUnits = (polkit.tinyciUnits || []).concat({units});",
            )
        server.sh(f"{systemctl} daemon-reload")
        yield
    finally:
        server.run(f"{systemctl} stop {' '.join(units)}; {systemctl} reset-failed {' '.join(units)}")
        server.sh(f"rm -f {' '.join(paths)} {rules}; {systemctl} daemon-reload")
