"""tinyci-notify as a process of its own, between a real Redis and a web server that takes what it posts."""

import asyncio
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from servers import LIMIT, TREE, Redis
from webhookserver import WebhookServer

# The real command with shorter times.
MAIN = """
from tinyci.notify import main, queue
queue.GATHERING, queue.RETRY_PAUSE = (0.3, 0.3), (0.2, 1.0)
main.main()
"""
REPO = 'repository = "/srv/git/web.git"\nuser = "web"\n'


class NotifyProcess:
    """The service, started and ended as systemd would."""

    def __init__(self, directory: Path, redis: Redis, *urls: str) -> None:
        self._directory = directory
        self._redis = redis
        for part in ("etc/repos.d", "credentials", "state"):
            (directory / part).mkdir(parents=True)
        (directory / "etc/tinyci.toml").write_text(f'[redis]\nsocket = "{redis.socket}"\n[web]\nurl = "http://ci/"\n')
        (directory / "etc/repos.d/web.toml").write_text(REPO)
        (directory / "credentials/redis-password").write_text("secret-notify\n")
        (directory / "credentials/urls").write_text("\n".join(urls))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._socket.setblocking(False)
        self.process: asyncio.subprocess.Process | None = None
        self.notifications: list[str] = []
        """Its messages to systemd (sd_notify(3))."""
        self._next = 0
        """Index of the first notification that wait_for() has not looked at."""
        self._received = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def _receive(self) -> None:
        self.notifications.append(self._socket.recv(4096).decode())
        self._received.set()

    async def start(self) -> None:
        environment = {
            **os.environ,
            "TINYCI_ETC": str(self._directory / "etc"),
            "CREDENTIALS_DIRECTORY": str(self._directory / "credentials"),
            "STATE_DIRECTORY": str(self._directory / "state"),
            "NOTIFY_SOCKET": str(self._directory / "notify"),
            "PYTHONPATH": str(TREE / "daemon"),
        }
        self.process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-c", MAIN),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        await self.wait_for("READY=1")

    async def wait_for(self, text: str) -> None:
        """Wait for a notification that contains the text, after the one that was waited for before."""
        async with asyncio.timeout(2 * LIMIT):
            while True:
                self._received.clear()
                for index in range(self._next, len(self.notifications)):
                    if text in self.notifications[index]:
                        self._next = index + 1
                        return
                await self._received.wait()

    async def wait_until_delivered(self) -> None:
        """Wait until it has saved that the last message was taken."""
        await self.wait_for("messages that wait: 1")
        while self.notifications[self._next - 1] != "STATUS=URLs: 1":
            await self.wait_for("STATUS=URLs: 1")

    async def end(self, method: str = "terminate") -> str:
        """End the process with a method of asyncio.subprocess.Process. Return its output."""
        process, self.process = self.process, None
        assert process
        getattr(process, method)()
        out, _ = await process.communicate()
        assert process.returncode == (-9 if method == "kill" else 0), out
        return out.decode()

    async def close(self) -> None:
        if self.process:
            await self.end("kill")
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def add_events(self, state: str, repo: str = "web", count: int = 1) -> None:
        """Write events and hashes of new jobs, as the daemon does."""
        for _ in range(count):
            job = str(uuid.uuid4())
            self._redis.data.hset(f"tinyci:job:{job}", mapping={"output": f"the last line\n{job}\n"})
            about = {"job": job, "repo": repo, "ref": "refs/heads/main", "revision": "1a2b3c4" + "0" * 33}
            self._redis.data.xadd("tinyci:events", {**about, "at": "2026-01-02T03:04:05.000006Z", "state": state})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[WebhookServer]:
    async with WebhookServer() as webhook_server:
        yield webhook_server


@pytest_asyncio.fixture
async def notify(redis: Redis, tmp_path: Path, server: WebhookServer) -> AsyncIterator[NotifyProcess]:
    process = NotifyProcess(tmp_path, redis, f"ntfy://127.0.0.1:{server.port}/tk_s3cret")
    yield process
    await process.close()


def titles(server: WebhookServer) -> list[str]:
    return [each["title"].partition(" \u2013")[0] for each in server.records]


def child_count(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def is_read(redis: Redis) -> bool:
    (group,) = redis.data.xinfo_groups("tinyci:events")
    return not group["lag"] and not group["pending"]


async def test_a_failure_and_a_recovery_are_told_and_an_uneventful_success_is_not(
    notify: NotifyProcess, server: WebhookServer
) -> None:
    notify.add_events("failed")  # before it was there the first time
    await notify.start()
    for place, state in enumerate(["succeeded", "failed", "succeeded", "succeeded", "rolled-back"]):
        notify.add_events("building")
        notify.add_events(state)
        if place in (1, 2, 4):
            await server.wait_for(messages=[1, 2, 0, 3][place - 1])
    assert titles(server) == ["web: failed", "web: recovered", "web: rolled-back"]
    assert "the last line" in server.records[0]["message"]
    assert server.records[0]["headers"]["X-Click"].startswith("http://ci/jobs/")
    assert "s3cret" not in await notify.end() + "".join(notify.notifications)


async def test_what_happens_while_it_is_down_is_told_when_it_is_back_as_one(
    notify: NotifyProcess, server: WebhookServer
) -> None:
    await notify.start()
    await notify.end()
    notify.add_events("failed", count=300)
    notify.add_events("succeeded", repo="mail")
    await notify.start()
    await server.wait_for(messages=1)
    notify.add_events("failed", repo="mail")
    await server.wait_for(messages=2)
    assert titles(server) == ["web: 300 deploys, last failed", "mail: failed"]


@pytest.mark.parametrize("method", ["kill", "terminate"])
async def test_what_was_told_is_not_told_again_after_a_restart(
    notify: NotifyProcess, server: WebhookServer, method: str
) -> None:
    await notify.start()
    notify.add_events("failed")
    await server.wait_for(messages=1)
    await notify.wait_until_delivered()
    await notify.end(method)
    await notify.start()
    notify.add_events("timed-out")
    await server.wait_for(messages=2)
    assert titles(server) == ["web: failed", "web: timed-out"]


async def test_killed_in_the_middle_of_sending_it_misses_nothing(notify: NotifyProcess, server: WebhookServer) -> None:
    await notify.start()
    server.may_answer.clear()
    notify.add_events("failed")
    notify.add_events("failed", repo="mail")
    await notify.wait_for("messages that wait: 2")
    notify.add_events("timed-out")
    await asyncio.sleep(0.5)  # past its gathering: it is posting
    await notify.end("kill")
    server.records.clear()
    server.may_answer.set()
    await notify.start()
    # What the one that was killed had sent may have been taken besides.
    while not {"mail: failed", "web: 2 deploys, last timed-out"} <= set(titles(server)):
        await server.wait_for(messages=len(server.records) + 1)
    assert len(server.records) <= 3


async def test_what_is_being_sent_when_it_stops_arrives_once(notify: NotifyProcess, server: WebhookServer) -> None:
    """systemd tells the main process alone of the stop (KillMode=mixed)."""
    await notify.start()
    server.may_answer.clear()
    notify.add_events("failed")
    await server.wait_for(arrivals=1)
    ending = asyncio.create_task(notify.end())
    await notify.wait_for("STOPPING=1")
    server.may_answer.set()
    await ending
    await notify.start()
    notify.add_events("timed-out")
    await server.wait_for(messages=2)
    assert titles(server) == ["web: failed", "web: timed-out"]


async def test_one_process_sends_to_all_at_once(redis: Redis, tmp_path: Path, server: WebhookServer) -> None:
    urls = [f"json://127.0.0.1:{server.port}/{number}" for number in range(12)]
    notify = NotifyProcess(tmp_path, redis, *urls)
    server.may_answer.clear()
    await notify.start()
    notify.add_events("failed")
    await server.wait_for(arrivals=len(urls))
    assert notify.process
    assert child_count(notify.process.pid) == 1
    server.may_answer.set()
    await server.wait_for(messages=len(urls))
    await notify.close()


async def test_a_server_that_comes_back_gets_it_once(notify: NotifyProcess, server: WebhookServer) -> None:
    await notify.start()
    server.status = 503
    notify.add_events("failed")
    await server.wait_for(refusals=2)
    notify.add_events("failed")
    assert not server.records
    server.status = 200
    await notify.wait_for("ntfy://127.0.0.1 (line 1): it answers with status 503")
    await server.wait_for(messages=1)
    await notify.wait_until_delivered()
    notify.add_events("succeeded")
    await server.wait_for(messages=2)
    assert titles(server) == ["web: 2 deploys, last failed", "web: recovered"]
    assert "s3cret" not in await notify.end() + "".join(notify.notifications)


async def test_a_slow_server_holds_no_other_up(redis: Redis, tmp_path: Path, server: WebhookServer) -> None:
    async with WebhookServer() as slow:
        notify = NotifyProcess(
            tmp_path,
            redis,
            f"json://127.0.0.1:{slow.port}/slow",
            "nosuch://tk_s3cret",
            f"mail,web=json://127.0.0.1:{server.port}/quick",
            f"mail=json://127.0.0.1:{server.port}/mail",
        )
        slow.may_answer.clear()
        await notify.start()
        for place in range(3):
            notify.add_events("failed")
            await server.wait_for(messages=place + 1)
        assert {each["path"] for each in server.records} == {"/quick"}
        assert not slow.records
        slow.may_answer.set()
        await slow.wait_for(messages=1)
        await notify.close()


async def test_a_redis_that_comes_back_is_read_on(own_redis: Redis, tmp_path: Path, server: WebhookServer) -> None:
    notify = NotifyProcess(tmp_path / "notify", own_redis, f"ntfy://127.0.0.1:{server.port}/x")
    await notify.start()
    own_redis.kill()
    await notify.wait_for("STATUS=Redis does not answer")
    own_redis.start()
    notify.add_events("failed")
    await server.wait_for(messages=1)
    await notify.close()


async def test_a_reload_goes_by_what_the_repos_say_now(
    notify: NotifyProcess, server: WebhookServer, tmp_path: Path
) -> None:
    await notify.start()
    (tmp_path / "etc/repos.d/web.toml").write_text(f'{REPO}notify = ["never"]\n')
    (tmp_path / "etc/repos.d/mail.toml").write_text(f'{REPO}notify = ["deploy"]\n')
    assert notify.process
    notify.process.send_signal(1)
    await notify.wait_for("READY=1")
    notify.add_events("failed")
    notify.add_events("succeeded", repo="mail")
    await server.wait_for(messages=1)
    assert titles(server) == ["mail: succeeded"]


async def test_a_memory_that_is_broken_is_put_aside(
    notify: NotifyProcess, server: WebhookServer, tmp_path: Path
) -> None:
    (tmp_path / "state/memory.json").write_text("{")
    await notify.start()
    notify.add_events("failed")
    await server.wait_for(messages=1)
    assert (tmp_path / "state/memory.bad").read_text() == "{"


async def test_a_memory_that_cannot_be_written_stops_nothing(
    notify: NotifyProcess, server: WebhookServer, tmp_path: Path
) -> None:
    (tmp_path / "state/memory.new").mkdir()  # what even root cannot open
    await notify.start()
    notify.add_events("failed")
    await server.wait_for(messages=1)
    await notify.wait_for("memory.new: Is a directory")
    (tmp_path / "state/memory.new").rmdir()
    notify.add_events("timed-out")
    await server.wait_for(messages=2)
    await notify.wait_until_delivered()
    await notify.end("kill")
    await notify.start()
    notify.add_events("succeeded")
    await server.wait_for(messages=3)
    assert titles(server) == ["web: failed", "web: timed-out", "web: recovered"]


async def test_without_a_url_it_says_so_and_reads_on(redis: Redis, tmp_path: Path) -> None:
    notify = NotifyProcess(tmp_path, redis, "# nobody yet")
    await notify.start()
    await notify.wait_for("STATUS=nobody to tell")
    notify.add_events("failed")
    async with asyncio.timeout(LIMIT):
        while not is_read(redis):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.05)
    await notify.close()


async def test_a_test_says_of_each_url_whether_it_works(tmp_path: Path, server: WebhookServer) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/notify").write_text(
        f"ntfy://127.0.0.1:{server.port}/s3cret\njson://127.0.0.1:1/s3cret\nslack://s3cret\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tinyci.notify.main", "--test"),
        env={**os.environ, "TINYCI_ETC": str(tmp_path), "PYTHONPATH": str(TREE / "daemon")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert out.decode().splitlines() == [
        "wrong: line 3: slack:// is not a URL that Apprise can use: see https://github.com/caronc/apprise/wiki for "
        "its parts",
        "sent: ntfy://127.0.0.1 (line 1)",
        "not sent: json://127.0.0.1 (line 2): the connection is refused",
    ]
    assert process.returncode == 1
    assert titles(server) == ["tinyci: a test"]


def test_apprise_takes_no_memory_while_there_is_nothing_to_send() -> None:
    """It would be as much as all else takes."""
    large = {"apprise", "argparse", "markdown", "requests", "yaml"}
    program = f"import sys; import tinyci.notify.main; sys.exit(' '.join({large} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(TREE / "daemon")}
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert process.stderr.strip() == ""
