"""The units of tinyci-web, and the pages in the wheel."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from servers import TREE

UNITS = TREE / "units" / "system"
SERVICE = (UNITS / "tinyci-web.service").read_text()


def test_its_exposure_is_small() -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=15"]
    check = subprocess.run(
        [*command, str(UNITS / "tinyci-web.service")], capture_output=True, text=True, timeout=60, check=False
    )
    level = re.search(r"Overall exposure level for tinyci-web.service: ([0-9.]+)", check.stdout)
    assert level, check.stdout + check.stderr
    print(level[0])
    assert float(level[1]) <= 1.5
    assert check.returncode == 0


def test_the_units_are_valid(tmp_path: Path) -> None:
    for name in ("tinyci-web.service", "tinyci-web.socket", "tinyci.slice"):
        text = (UNITS / name).read_text().replace("/opt/tinyci/bin/tinyci-web", "/bin/true")
        (tmp_path / name).write_text(text)
    check = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (check.returncode, [line for line in check.stderr.splitlines() if "tinyci" in line]) == (0, [])


def test_pages_and_deploys_do_not_depend_on_each_other() -> None:
    directives = [line for line in SERVICE.splitlines() if not line.startswith("#")]
    assert not [
        line for line in directives if re.search(r"(Requires|Wants|BindsTo|PartOf|Upholds)=.*tinyci\.service", line)
    ]
    for other in UNITS.glob("*.service"):
        if not other.name.startswith("tinyci-web"):
            assert "tinyci-web" not in other.read_text(), other


def test_the_wheel_has_the_pages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=TREE, capture_output=True, timeout=60, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entries,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "tinyci-web = tinyci.web.main:main" in archive.read(entries).decode()
    web = TREE / "daemon" / "tinyci" / "web"
    for path in (*web.glob("templates/*"), *web.glob("static/*")):
        assert f"tinyci/web/{path.relative_to(web)}" in names
