"""The tests pass however they are started: of each kind that a circumstance ever broke, one is run in the worst."""

import subprocess
import sys

from servers import TREE

TESTS = (
    "tests/service/test_cli.py::test_ctrl_c_says_that_the_job_goes_on",
    "tests/service/test_events.py::test_who_follows_hears_at_once_and_goes_on_when_the_daemon_is_back",
    "tests/unit/test_pages.py::test_man_shows_a_page_without_a_warning",
    "tests/unit/test_packing.py",
)
# As from a script's `nohup … &` with a strict umask, no standard input, and a locale that nobody generated here.
START = 'umask 077; trap "" INT HUP; export LANG=xx_XX.UTF-8 LANGUAGE=de; unset LC_ALL TERM; exec "$0" "$@" <&-'


def test_tests_pass_in_the_background_without_a_terminal() -> None:
    command = ["sh", "-c", START, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    pytest = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
    assert pytest.returncode == 0, pytest.stdout + pytest.stderr
