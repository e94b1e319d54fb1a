"""The build stage, as its unit runs it: the repository's own script in a checkout of the revision."""

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gitrepos import IDENTITY, Clone
from servers import LIMIT, TREE
from tinyci.model.job import TIP
from tinyci.model.stagecontract import first_line, last_line, tip_line

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
HEX = ID.replace("-", "")
INVOCATION = "fedcba98765432100123456789abcdef"
ME = pwd.getpwuid(os.geteuid()).pw_name


@dataclass
class StageResult:
    """The result of the stage for the journal and for the manager."""

    code: int
    output: bytes
    """The output between its first and its last line."""
    status: str
    """The last STATUS= (sd_notify(3))."""


class StageFixture:
    """A repo, a job of it, and the environment of tinyci-build@.service."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clone = Clone(directory)
        self.tree = directory / "cache" / "web" / "tree"
        self.revision = ""
        self._environment: dict[str, str] = {}
        for name in ("etc/repos.d", "jobs", "cache"):
            (directory / name).mkdir(parents=True)
        self.write_repo()
        self.notify_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify_socket.bind(str(directory / "notify"))
        self.notify_socket.setblocking(False)

    def write_repo(self, user: str = ME, more: str = "") -> None:
        text = f'repository = "{self.clone.bare}"\nuser = "{user}"\n{more}'
        (self.directory / "etc" / "repos.d" / "web.toml").write_text(text)

    def push(self, script: str | bytes, name: str = "ci-build.sh", mode: int = 0o755) -> None:
        self.clone.write(name, script, mode)
        self.revision = self.clone.commit()
        self.clone.push()

    def write_job(self, **changes: str) -> None:
        job = {"id": ID, "repo": "web", "ref": "refs/heads/main", "revision": self.revision, **changes}
        pairs = ", ".join(f'"{key}": "{value}"' for key, value in job.items())
        (self.directory / "jobs" / f"{HEX}.json").write_text(f"{{{pairs}}}")

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tinyci.stage.build", *(arguments or (HEX,))],
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(TREE / "daemon"),
                "TINYCI_ETC": str(self.directory / "etc"),
                "TINYCI_JOBS": str(self.directory / "jobs"),
                "CACHE_DIRECTORY": str(self.directory / "cache"),
                "NOTIFY_SOCKET": str(self.directory / "notify"),
                "INVOCATION_ID": INVOCATION,
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def end(self, process: subprocess.Popen[bytes]) -> StageResult:
        output, _ = process.communicate(b"nobody reads this\n", timeout=LIMIT)
        lines = output.split(b"\n")
        assert lines[0] == first_line(INVOCATION).encode(), output.decode()
        assert lines[-2:] == [last_line(INVOCATION).encode(), b""], output.decode()
        # Before the last line stands an empty one, or the newline that the script left out.
        return StageResult(process.returncode, b"\n".join(lines[1:-2]), self._status())

    def run(self, *arguments: str, **environment: str) -> StageResult:
        if not (self.directory / "jobs" / f"{HEX}.json").exists():
            self.write_job()
        return self.end(self.start(*arguments, **environment))

    def _status(self) -> str:
        message = ""
        while True:
            try:
                message = self.notify_socket.recv(4096).decode()
            except BlockingIOError:
                return message.removeprefix("STATUS=")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[StageFixture]:
    stage = StageFixture(tmp_path)
    yield stage
    stage.notify_socket.close()


# -- the script --------------------------------------------------------------------------------------------------


def test_the_script_runs_in_a_checkout_of_the_revision(stage: StageFixture) -> None:
    stage.push('#!/bin/sh\npwd -P\necho "$0" "$@"\ngit rev-parse HEAD\ngit status --porcelain\n')
    result = stage.run()
    assert result.code == 0
    assert result.output.decode().splitlines() == [
        str(stage.tree),
        f"{stage.tree}/ci-build.sh {stage.revision}",
        stage.revision,
    ]
    assert result.status == ""


def test_the_tip_of_the_ref_is_run_and_told_first(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\ngit rev-parse HEAD; echo $1 $TINYCI_REVISION\n")
    stage.write_job(revision=TIP)
    line = tip_line("refs/heads/main", stage.revision)
    assert stage.run().output.decode() == f"{line}\n{stage.revision}\n{stage.revision} {stage.revision}\n"


def test_the_tip_of_a_ref_that_is_not_there_is_rejected(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\n")
    stage.write_job(revision=TIP, ref="refs/heads/next")
    result = stage.run()
    assert result.code == 1
    assert result.status.startswith("rejected: there is no refs/heads/next in ")


def test_the_script_finds_the_revision_as_its_author_compares_it(stage: StageFixture) -> None:
    """Scripts of tinyci's predecessors do so."""
    stage.push('#!/bin/sh\ncase $1 in "$(git rev-parse --short HEAD)"*) echo agreed;; *) echo differs;; esac\n')
    assert stage.run().output == b"agreed\n"


def test_the_script_is_told_the_job(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\nenv\n")
    variables = dict(line.split("=", 1) for line in stage.run(HOME="/home/web").output.decode().splitlines())
    assert {key: variables[key] for key in variables if key.startswith(("CI", "TINYCI_", "PWD", "HOME"))} == {
        "CI": "true",
        "TINYCI_JOB": ID,
        "TINYCI_REPO": "web",
        "TINYCI_REF": "refs/heads/main",
        "TINYCI_REVISION": stage.revision,
        "TINYCI_ETC": variables["TINYCI_ETC"],
        "TINYCI_JOBS": variables["TINYCI_JOBS"],
        "PWD": str(stage.tree),
        "HOME": "/home/web",
    }
    assert "NOTIFY_SOCKET" not in variables  # a build must not speak in the stage's name
    assert "CACHE_DIRECTORY" not in variables


def test_the_script_of_the_repos_file_is_run(stage: StageFixture) -> None:
    stage.write_repo(more='script = "deploy/build it"\n')
    stage.push("#!/bin/sh\npwd -P\n", name="deploy/build it")
    assert stage.run().output == f"{stage.tree}\n".encode()


def test_the_script_has_nothing_to_read(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\nread -r line || echo nothing\n")
    assert stage.run().output == b"nothing\n"


def test_both_streams_are_the_output_in_their_order(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\necho one\necho two >&2\necho three\n")
    assert stage.run().output == b"one\ntwo\nthree\n"


def test_bytes_of_any_kind_pass(stage: StageFixture) -> None:
    stage.push(b"#!/bin/sh\nprintf 'caf\\351 \\000\\377\\n'\n")
    assert stage.run().output == b"caf\xe9 \0\xff\n"


@pytest.mark.parametrize("last", ["no newline", "a newline\\n", "two\\n\\n"])
def test_the_last_line_is_a_line_of_its_own(stage: StageFixture, last: str) -> None:
    stage.push(f"#!/bin/sh\nprintf '{last}'\n")
    assert stage.run().output == last.replace("\\n", "\n").encode()


def test_what_the_script_started_may_go_on_without_the_stage(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\nsleep 60 >/dev/null 2>&1 &\necho $!\n")
    pid = int(stage.run().output)
    os.kill(pid, signal.SIGKILL)


# -- its end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 255])
def test_the_scripts_status_is_the_stages(stage: StageFixture, code: int) -> None:
    stage.push(f"#!/bin/sh\necho out\nexit {code}\n")
    result = stage.run()
    assert (result.code, result.output) == (code, b"out\n")
    assert result.status == f"failed: ci-build.sh exited with status {code}"


@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_a_script_that_a_signal_ended_is_told(stage: StageFixture, name: str) -> None:
    stage.push(f"#!/bin/sh\necho out\nkill -{name} $$\n")
    result = stage.run()
    number = signal.Signals[f"SIG{name}"]
    assert (result.code, result.output) == (128 + number, b"out\n")
    assert result.status == f"failed: ci-build.sh was killed by SIG{name}"


def test_a_script_that_a_nameless_signal_ended_is_told(stage: StageFixture) -> None:
    stage.push("#!/bin/bash\nkill -40 $$\n")
    result = stage.run()
    assert result.code == 128 + 40
    assert result.status.startswith("failed: ci-build.sh was killed by ")


def test_a_stage_that_is_stopped_tells_how_the_script_took_it(stage: StageFixture) -> None:
    """systemd sends SIGTERM to every process of the unit."""
    stage.push("#!/bin/bash\ntrap 'echo cleaned up; exit 9' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
    stage.write_job()
    process = stage.start()
    assert process.stdout
    ready = b""
    while b"ready\n" not in ready:
        ready += os.read(process.stdout.fileno(), 100)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGTERM)
    rest, _ = process.communicate(timeout=LIMIT)
    assert rest.startswith(b"cleaned up\n")
    assert rest.endswith(f"\n{last_line(INVOCATION)}\n".encode())
    assert process.returncode == 9


# -- no script ---------------------------------------------------------------------------------------------------


def assert_refused(result: StageResult, sentence: str, verdict: str = "failed") -> None:
    assert result.code == 1
    assert result.output.decode().splitlines()[-1] == f"tinyci: {sentence}"
    assert result.status == f"{verdict}: {sentence}"


def test_a_revision_without_the_script_is_told(stage: StageFixture) -> None:
    stage.push("x", name="README")
    assert_refused(stage.run(), "the revision has no ci-build.sh: add the script, executable, to the repository")


def test_a_directory_is_no_script(stage: StageFixture) -> None:
    stage.push("x", name="ci-build.sh/file")
    assert_refused(stage.run(), "the revision has no ci-build.sh: add the script, executable, to the repository")


@pytest.mark.parametrize("mode", [0o755, 0o644])
@pytest.mark.parametrize("line", ["#!/bin/sh", "#!/bin/sh -e", "#!/usr/bin/env sh"])
def test_a_script_with_the_line_ends_of_windows_is_told_what_mends_it(
    stage: StageFixture, line: str, mode: int
) -> None:
    stage.push(f"{line}\r\necho begun\r\n", mode=mode)
    result = stage.run()
    assert result.code == 1
    sentence, mend = result.status.split("no interpreter is found: ")
    assert sentence == "failed: ci-build.sh has the line ends of Windows, with which "
    subprocess.run(mend, shell=True, cwd=stage.clone.tree, env={**os.environ, **IDENTITY}, check=True)
    stage.clone.push()
    stage.revision = stage.clone.git("rev-parse", "HEAD").strip()
    stage.write_job()
    result = stage.run()
    assert (result.code, result.output) == (0, b"begun\n")


def test_a_script_without_its_mode_is_run_by_what_it_names(stage: StageFixture) -> None:
    stage.push("#! /usr/bin/env -S sh -eu \necho $0 $1\ngit status --porcelain\nfalse\necho on\n", mode=0o644)
    result = stage.run()
    assert result.code == 1
    assert result.output.decode().splitlines() == [f"{stage.tree}/ci-build.sh {stage.revision}"]


@pytest.mark.parametrize("script", ["echo no first line\n", "", "#!\n", "#!   \necho\n"])
def test_a_script_that_is_not_executable_is_told_with_what_mends_it(stage: StageFixture, script: str) -> None:
    stage.push(script, mode=0o644)
    sentence = "ci-build.sh is neither executable nor begins with #!: "
    assert_refused(stage.run(), sentence + "chmod +x ci-build.sh && git commit -am 'Make ci-build.sh executable'")


@pytest.mark.parametrize("script", ["echo no first line\n", "", "#!/no/such/interpreter\n"])
def test_a_script_that_nothing_can_run_is_told(stage: StageFixture, script: str) -> None:
    stage.push(script)
    result = stage.run()
    assert result.code == 1
    assert result.status.startswith("failed: ci-build.sh cannot be run: ")
    assert result.status.endswith("is its first line a #! that exists here?")


def test_a_script_of_the_build_before_is_not_run(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\ncp ci-build.sh left.sh\necho first\n")
    stage.run()
    stage.write_repo(more='script = "left.sh"\n')
    stage.write_job()
    assert_refused(stage.run(), "the revision has no left.sh: add the script, executable, to the repository")


# -- no job ------------------------------------------------------------------------------------------------------


def test_a_revision_that_was_taken_back_is_rejected(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\n")
    stage.write_job()
    old = stage.revision
    stage.clone.git("commit", "--quiet", "--amend", "--message", "Other")
    stage.clone.push("+main")
    sentence = f"revision {old} is not in {stage.clone.bare}: no ref leads to it, a later push may have taken it back"
    assert_refused(stage.run(), sentence, verdict="rejected")


def test_a_repo_of_another_user_is_refused(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\necho ran\n")
    stage.write_repo(user="somebody")
    assert_refused(stage.run(), f"the repo web belongs to somebody, not to {ME}")


def test_a_stage_without_its_unit_is_refused(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\necho ran\n")
    assert_refused(stage.run(CACHE_DIRECTORY=""), "CACHE_DIRECTORY is not set: run this as tinyci-build@.service")


@pytest.mark.parametrize("arguments", [["../x"], [ID], [HEX, "more"]])
def test_a_wrong_argument_is_refused(stage: StageFixture, arguments: list[str]) -> None:
    stage.push("#!/bin/sh\necho ran\n")
    result = stage.run(*arguments)
    assert result.code == 1
    assert "is not the instance of a job: expected 32 hexadecimal digits" in result.status


def test_a_cache_that_cannot_be_written_is_told(stage: StageFixture) -> None:
    """Like a full disk, this is a defect of the host, not of ours: a sentence, and no traceback."""
    stage.push("#!/bin/sh\necho ran\n")
    (stage.directory / "cache" / "web").write_text("a file where a directory must be")
    result = stage.run()
    assert result.code == 1
    assert result.status.startswith("failed: ")
    assert b"Traceback" not in result.output


def test_a_ref_of_odd_bytes_can_be_told_in_a_strict_locale(stage: StageFixture) -> None:
    stage.push("#!/bin/sh\n")
    stage.write_job(revision=TIP, ref="refs/heads/caf\\udce9")
    result = stage.run(PYTHONIOENCODING="utf-8:strict")
    assert result.code == 1
    assert b"there is no refs/heads/caf" in result.output
    assert result.status.startswith("rejected: there is no refs/heads/caf")
