"""tinyci's own code as its wheel installed it, and the libraries that it imports."""

import csv
import importlib.util
import os
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, distribution

from tinyci.doctor import files, packages
from tinyci.doctor.finding import Finding, ok, wrong
from tinyci.doctor.problems import Problem

# As the role tinyci installs them (tests/unit/test_doctor.py holds them together).
LIBRARIES = {
    "dbus_next": "python3-dbus-next",
    "redis": "python3-redis",
    "sdnotify": "python3-sdnotify",
    "systemd": "python3-systemd",
}


def judge_code(missing: list[str]) -> Finding:
    if missing:
        names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        text = f"of tinyci's own code are missing: {names}; what has to run it fails"
        return wrong(Problem.CODE_MISSING, text, files.reinstall())
    return ok("code", "tinyci's own code is there")


def judge_libraries(missing: Collection[str]) -> Finding:
    if missing:
        text = f"tinyci's code imports what is not installed: {', '.join(sorted(missing))}"
        return wrong(Problem.LIBRARIES_MISSING, text, packages.install(*sorted(LIBRARIES[name] for name in missing)))
    return ok("libraries", "what tinyci's code imports is installed")


def look() -> list[Finding]:
    try:
        wheel = distribution("tinyci")
        rows = list(csv.reader((wheel.read_text("RECORD") or "").splitlines()))
        # What Python keeps compiled may come and go.
        paths = [row[0] for row in rows if not row[0].endswith(".pyc")]
        missing = [path for path in paths if not os.path.exists(str(wheel.locate_file(path)))]
    except PackageNotFoundError:  # run from a tree
        missing = []
    lacking = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    return [judge_code(missing), judge_libraries(lacking)]
