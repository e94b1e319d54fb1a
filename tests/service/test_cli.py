"""The program `tinyci`, as a person runs it, on a real message bus with org.tinyci1 on it."""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pytest
import pytest_asyncio
from fakepolkit import FakePolkit
from fakerequests import ID, NEW_ID, FakeRequests
from objectserver import object_server, serving
from servers import INTERRUPTIBLE, TREE, MessageBus
from tinyci import __version__
from tinyci.api.objects import ObjectServer
from tinyci.api.requests import RequestError
from tinyci.cli.exitstatus import OF_STATE

TINYCI = [sys.executable, "-m", "tinyci.cli.main"]
FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "created": "2026-01-02T03:04:05.000006Z"}


@dataclass
class Exit:
    status: int
    out: str
    err: str


class Person:
    """A person with a shell on the host."""

    def __init__(self, bus: MessageBus) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")},
            "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
            "PYTHONPATH": str(TREE / "daemon"),
            "TERM": "xterm",
        }
        self.screens: asyncio.Queue[str] = asyncio.Queue()
        """All output to the terminal up to now, each time that there is more."""

    async def start(self, *arguments: str, before: Sequence[str] = INTERRUPTIBLE) -> asyncio.subprocess.Process:
        """Run it with pipes, by the command `before` it."""
        return await asyncio.create_subprocess_exec(
            *before,
            *TINYCI,
            *arguments,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def ask(self, *arguments: str) -> Exit:
        """Run it to its end."""
        process = await self.start(*arguments)
        out, err = await process.communicate()
        return Exit(process.returncode or 0, out.decode(), err.decode())

    async def look(self, *arguments: str, columns: int = 80) -> str:
        """Run it on a terminal; return its output."""
        ours, its = pty.openpty()
        termios.tcsetwinsize(its, (24, columns))
        process = await asyncio.create_subprocess_exec(
            *TINYCI, *arguments, env=self.environment, stdin=its, stdout=its, stderr=its
        )
        os.close(its)
        output = b""
        with suppress(OSError):  # EIO is the end of a terminal
            while data := await asyncio.to_thread(os.read, ours, 4096):
                output += data
                self.screens.put_nowait(output.decode("utf-8", "replace"))
        os.close(ours)
        await process.wait()
        return output.decode().replace("\r\n", "\n")


@pytest.fixture
def person(message_bus: MessageBus) -> Person:
    return Person(message_bus)


class WatchedRequests(FakeRequests):
    """Has an event for the lookup of a job that is not on the bus."""

    def __init__(self) -> None:
        super().__init__()
        self.lookup = asyncio.Event()

    async def job(self, job_id: str) -> dict[str, str]:
        self.lookup.set()
        return await super().job(job_id)


@pytest.fixture
def requests() -> WatchedRequests:
    return WatchedRequests()


@pytest_asyncio.fixture
async def tinyci(system_bus: MessageBus, requests: FakeRequests) -> AsyncIterator[ObjectServer]:
    async with serving(requests, "mail", "web") as server:
        yield server


# -- looking -----------------------------------------------------------------------------------------------------


async def test_jobs_are_lines_in_a_pipe(person: Person, tinyci: ObjectServer) -> None:
    other = str(uuid.uuid4())
    tinyci.add(ID, {**FIELDS, "state": "failed"})
    tinyci.add(other, {**FIELDS, "repo": "mail", "state": "building"})
    first, second = f"{ID}\tfailed\tweb\trefs/heads/main\n", f"{other}\tbuilding\tmail\trefs/heads/main\n"
    assert await person.ask("jobs") == Exit(0, first + second, "")
    assert await person.ask("jobs", "web") == Exit(0, first, "")
    assert await person.ask("jobs", "--state", "building") == Exit(0, second, "")
    assert await person.ask("jobs", "--state=queued", "--state=failed") == Exit(0, first, "")
    assert await person.ask("jobs", "mail", "--state=failed") == Exit(0, "", "")
    assert [job["id"] for job in json.loads((await person.ask("jobs", "--json")).out)] == [ID, other]


async def test_jobs_are_a_coloured_table_on_a_terminal(person: Person, tinyci: ObjectServer) -> None:
    tinyci.add(ID, {**FIELDS, "state": "failed"})
    lines = (await person.look("jobs", columns=60)).splitlines()
    assert re.fullmatch(r"\x1b\[1mID +STATE +REPO +REF +AGE\x1b\[0m", lines[0])
    assert re.fullmatch(r"0d313b1e  \x1b\[31mfailed\x1b\[0m  web   main  \d+ days", lines[1])
    person.environment["NO_COLOR"] = "1"
    assert "\x1b" not in await person.look("jobs")


async def test_a_job_is_shown_whole(person: Person, tinyci: ObjectServer) -> None:
    output = "one\n\x1b[31mtwo\x1b[2J\n"
    tinyci.add(ID, {**FIELDS, "state": "failed", "success": "false", "output": output, "finished": "then"})
    for name in (ID, "0d3", "@", "web"):
        result = await person.ask("show", name)
        assert result.status == 0
        assert f"             Id: {ID}\n" in result.out
        assert "          State: failed\n" in result.out
        assert "        Success: False\n" in result.out
        assert result.out.endswith("\n\none\ntwo\\x1b[2J\n"), "nothing that a terminal would obey"
    assert "\x1b[31mtwo\\x1b[2J\x1b[0m\n" in await person.look("show", "@")
    assert json.loads((await person.ask("show", "@", "--json")).out)["Output"] == output


async def test_the_status_tells_of_a_pause_and_of_live_jobs(
    person: Person, tinyci: ObjectServer, requests: FakeRequests
) -> None:
    requests.paused = True
    tinyci.add(ID, {**FIELDS, "state": "building"})
    tinyci.add(NEW_ID, {**FIELDS, "state": "succeeded"})
    result = await person.ask("status")
    assert result.status == 0
    assert result.out == (
        f"tinyci {__version__} is paused ('tinyci resume' ends that): 1 running, 0 waiting, 2 repos.\n"
        "0d313b1e\tbuilding\tweb\tmain\n"
    )


# -- exit statuses -----------------------------------------------------------------------------------------------


async def test_without_a_bus_or_a_daemon_it_says_so(person: Person, message_bus: MessageBus) -> None:
    for command in (["jobs"], ["show", "@"], ["log", "-f", "@"], ["wait", "@"], ["pause"], ["status"], ["repos"]):
        result = await person.ask(*command)
        assert result == Exit(5, "", "tinyci: the daemon does not run: systemctl start tinyci\n")
    person.environment["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent"
    result = await person.ask("jobs")
    assert result.status == 5
    assert result.err.startswith("tinyci: cannot connect to unix:path=/nonexistent")


@pytest.mark.parametrize("command", ["show", "log", "wait", "cancel", "retry"])
async def test_a_job_that_nobody_knows_is_answered_with_candidates(
    person: Person, tinyci: ObjectServer, command: str
) -> None:
    tinyci.add(ID, {**FIELDS, "state": "failed"})
    result = await person.ask(command, "nonsense")
    assert result.status == 3
    assert result.err == (
        "tinyci: no job has an id that begins with 'nonsense', and no repo is called so: the repos are mail, web; "
        "the newest jobs: 0d313b1e (web, failed)\n"
    )


@pytest.mark.parametrize("command", ["jobs", "run", "rollback"])
async def test_a_repo_that_nobody_knows_is_answered_with_those_that_there_are(
    person: Person, tinyci: ObjectServer, command: str
) -> None:
    result = await person.ask(command, "wbe\x1b[2J")
    assert result == Exit(3, "", "tinyci: there is no repo 'wbe\\x1b[2J': the repos are mail, web\n")


async def test_what_polkit_refuses_has_a_status_of_its_own(
    person: Person, tinyci: ObjectServer, polkit: FakePolkit
) -> None:
    tinyci.add(ID, FIELDS)
    polkit.verdict = (False, False)
    result = await person.ask("cancel", ID)
    assert result == Exit(4, "", "tinyci: polkit does not allow you org.tinyci1.cancel for web\n")


async def test_what_the_daemon_will_not_do_is_its_sentence(
    person: Person, tinyci: ObjectServer, polkit: FakePolkit, requests: FakeRequests
) -> None:
    tinyci.add(ID, FIELDS)
    requests.refusal = RequestError("AlreadyFinished", "it has ended")
    assert await person.ask("cancel", ID) == Exit(1, "", "tinyci: it has ended\n")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["jobs", "--state", "good"], ["show"], ["rollback"]])
async def test_a_wrong_command_line_is_two(person: Person, arguments: list[str]) -> None:
    result = await person.ask(*arguments)
    assert result.status == 2
    assert result.err.startswith("usage: tinyci")


async def test_a_reader_that_stops_is_no_error(person: Person, tinyci: ObjectServer) -> None:
    for _ in range(50):
        tinyci.add(str(uuid.uuid4()), FIELDS)
    command = f"set -o pipefail; {' '.join(TINYCI)} jobs | head -n 1"
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, env=person.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (out.count(b"\n"), err) == (1, b"")


# -- asking ------------------------------------------------------------------------------------------------------


async def test_requests_are_the_managers(
    person: Person, tinyci: ObjectServer, polkit: FakePolkit, requests: FakeRequests
) -> None:
    tinyci.add(ID, FIELDS)
    tinyci.add(NEW_ID, {**FIELDS, "repo": "mail"})
    assert await person.ask("cancel", "web") == Exit(0, "cancelled job 0d313b1e of web.\n", "")
    assert await person.ask("retry", "0d3") == Exit(0, f"started job {NEW_ID} for mail.\n", "")
    assert (await person.ask("pause")).status == 0
    assert (await person.ask("resume")).status == 0
    calls = [each[:2] for each in requests.calls]
    assert calls == [("cancel", ID), ("retry", ID), ("pause", True), ("pause", False)]


# -- following ---------------------------------------------------------------------------------------------------


async def test_the_output_of_a_job_is_printed(person: Person, tinyci: ObjectServer, requests: FakeRequests) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    requests.logs[ID] = ["one", "\x1b[31mtwo\x1b[2J"]
    assert await person.ask("log", "web") == Exit(0, "one\ntwo\\x1b[2J\n", "")


async def test_a_job_that_is_only_kept_is_found_by_its_id(
    person: Person, tinyci: ObjectServer, requests: FakeRequests
) -> None:
    requests.hashes[ID] = {**FIELDS, "state": "failed", "reason": "because"}
    requests.logs[ID] = ["one"]
    assert await person.ask("log", ID) == Exit(0, "one\n", "")
    assert await person.ask("wait", ID) == Exit(10, "job 0d313b1e of web failed: because.\n", "")


@pytest.mark.parametrize(("state", "status"), OF_STATE.items())
async def test_who_waits_for_a_job_exits_by_it(
    person: Person, tinyci: ObjectServer, requests: FakeRequests, state: str, status: int
) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    following = await person.start("log", "-f", ID)
    waiting = await person.start("wait", ID)
    assert following.stdout
    assert following.stderr
    assert await following.stderr.readline() == b"tinyci: job 0d313b1e of web: building\n"
    requests.logs[ID] = ["one"]
    tinyci.log_grew(ID)
    assert await following.stdout.readline() == b"one\n", "it comes while the job goes on"
    end = {"state": state, "reason": "because", "started": "2026-01-02T03:04:05Z", "finished": "2026-01-02T03:05:06Z"}
    tinyci.change(ID, end)
    helper = {"failed": "", "succeeded": "", "timed-out": "", "unchanged": "is "}.get(state, "was ")
    verb = f"{helper}{state}"
    sentence = f"job 0d313b1e of web {verb} after 1 min 1 s: because.\n".encode()
    assert await following.communicate() == (b"", b"tinyci: " + sentence)
    assert await waiting.communicate() == (sentence, b"")
    assert (following.returncode, waiting.returncode) == (status, status)


async def test_a_terminal_is_shown_what_is_waited_for(person: Person, tinyci: ObjectServer) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    looking = asyncio.create_task(person.look("wait", ID))
    while "job 0d313b1e of web: building (" not in await person.screens.get():
        pass
    while not re.search(r"building \([1-9]", await person.screens.get()):
        pass  # the time goes on
    tinyci.change(ID, {"state": "succeeded"})
    assert "\r\x1b[Kjob 0d313b1e of web succeeded.\n" in await looking


async def test_ctrl_c_says_that_the_job_goes_on(person: Person, tinyci: ObjectServer) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    following = await person.start("log", "-f", ID)
    assert following.stderr
    await following.stderr.readline()
    following.send_signal(signal.SIGINT)
    _, errors = await following.communicate()
    assert following.returncode == 130
    assert errors.decode() == (
        "tinyci: the job goes on: 'tinyci log -f 0d313b1e' shows it again, and 'tinyci cancel 0d313b1e' ends it\n"
    )


async def test_ctrl_c_does_not_end_what_a_shell_started_in_the_background(person: Person, tinyci: ObjectServer) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    following = await person.start("log", "-f", ID, before=("env", "--ignore-signal=INT"))
    assert following.stderr
    await following.stderr.readline()
    following.send_signal(signal.SIGINT)
    tinyci.change(ID, {"state": "succeeded"})
    assert await following.communicate() == (b"", b"tinyci: job 0d313b1e of web succeeded.\n")
    assert following.returncode == 0


async def test_who_waits_for_a_job_is_told_of_a_pause(
    person: Person, tinyci: ObjectServer, requests: FakeRequests
) -> None:
    requests.paused = True
    tinyci.add(ID, FIELDS)
    following = await person.start("log", "-f", ID)
    assert following.stderr
    assert await following.stderr.readline() == b"tinyci: job 0d313b1e of web: queued\n"
    assert await following.stderr.readline() == b"tinyci: jobs are paused: it begins after 'tinyci resume'\n"
    tinyci.change(ID, {"state": "cancelled"})
    await following.communicate()
    assert following.returncode == 13


async def test_a_daemon_that_goes_away_is_waited_for(
    person: Person, message_bus: MessageBus, tinyci: ObjectServer, requests: WatchedRequests
) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    requests.logs[ID] = ["one"]
    following = await person.start("log", "-f", ID)
    assert following.stdout
    assert following.stderr
    assert await following.stdout.readline() == b"one\n"
    await tinyci.close()
    await following.stderr.readline()
    assert b"waiting for it, the job is not lost" in await following.stderr.readline()
    again = object_server(requests, "web")
    requests.lookup.clear()
    await again.connect()
    await requests.lookup.wait()  # it has its name before it knows of its jobs
    again.add(ID, {**FIELDS, "state": "building"}, announce=False)
    requests.logs[ID].append("two")
    again.change(ID, {"state": "succeeded"})
    out, _ = await following.communicate()
    assert (following.returncode, out) == (0, b"two\n"), "nothing twice, and nothing lost"
    await again.close()


async def test_a_new_job_can_be_followed_at_once(
    person: Person, tinyci: ObjectServer, polkit: FakePolkit, requests: FakeRequests
) -> None:
    tinyci.add(NEW_ID, {**FIELDS, "state": "failed", "reason": "because"})
    requests.logs[NEW_ID] = ["one"]
    result = await person.ask("run", "web", "main", "--wait")
    assert (result.status, result.out) == (10, f"started job {NEW_ID} for web.\none\n")
    assert result.err.endswith("tinyci: job 11111111 of web failed: because.\n")
    assert requests.calls[0][:3] == ("deploy", "web", "refs/heads/main")
    assert (await person.ask("rollback", "web", "--wait")).status == 10
    assert (await person.ask("rollback", "--to", "111", "--wait")).status == 10
    assert [each[:3] for each in requests.calls[1:]] == [("rollback", "web", ""), ("rollback", "web", NEW_ID)]


# -- start-up ----------------------------------------------------------------------------------------------------


def needed(commands: list[list[str]], environment: dict[str, str]) -> list[float]:
    """Seconds of the processor that each needs, of the best of some runs by turns: other load on the machine is not
    their fault."""
    samples: list[list[float]] = [[] for _ in commands]
    for _ in range(9):
        for command, times in zip(commands, samples, strict=True):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            _, process.returncode, usage = os.wait4(process.pid, 0)
            assert process.returncode == 0
            times.append(usage.ru_utime + usage.ru_stime)
    return list(map(min, samples))


@pytest.mark.parametrize(("command", "most"), [("--version", 4), ("jobs", 12)])
async def test_it_starts_in_no_time(person: Person, tinyci: ObjectServer, command: str, most: int) -> None:
    """Where an empty Python needs 12.5 ms, `tinyci jobs` may need 150; machines differ."""
    commands = [[sys.executable, "-c", "pass"], [*TINYCI, command]]
    empty, needs = await asyncio.to_thread(needed, commands, person.environment)
    assert needs < empty * most


async def test_the_version_asks_nobody(person: Person) -> None:
    person.environment["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent"
    assert await person.ask("--version") == Exit(0, f"tinyci {__version__}\n", "")
    command = [sys.executable, "-X", "importtime", "-m", "tinyci.cli.main", "--version"]
    process = await asyncio.create_subprocess_exec(*command, env=person.environment, stderr=subprocess.PIPE)
    modules = {line.rpartition("|")[2].strip() for line in (await process.communicate())[1].decode().splitlines()}
    assert "argparse" in modules
    assert not modules & {"asyncio", "dbus_next", "tinyci.api.objects", "json", "systemd"}
