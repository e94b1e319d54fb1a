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
from post import WebhookServer
from servers import LIMIT, TREE, Redis

# As it is, but in a hurry.
MAIN = """
from tinyci.notify import main, queue
queue.GATHERING, queue.RETRY_PAUSE = (0.3, 0.3), (0.2, 1.0)
main.main()
"""
REPO = 'repository = "/srv/git/web.git"\nuser = "web"\n'


class Notify:
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
        self.said: list[str] = []
        """What it told systemd."""
        self._heard = 0  # how much of it until() has looked at
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket, self._hear)

    def _hear(self) -> None:
        self.said.append(self._socket.recv(4096).decode())
        self._more.set()

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
        await self.until("READY=1")

    async def until(self, text: str) -> None:
        """Until it tells systemd that, after what was awaited before."""
        async with asyncio.timeout(2 * LIMIT):
            while True:
                self._more.clear()
                for place in range(self._heard, len(self.said)):
                    if text in self.said[place]:
                        self._heard = place + 1
                        return
                await self._more.wait()

    async def until_told(self) -> None:
        """Until it knows, and keeps, that what came last was taken."""
        await self.until("messages that wait: 1")
        while self.said[self._heard - 1] != "STATUS=URLs: 1":
            await self.until("STATUS=URLs: 1")

    async def end(self, how: str = "terminate") -> str:
        """What it printed."""
        process, self.process = self.process, None
        assert process
        getattr(process, how)()
        out, _ = await process.communicate()
        assert process.returncode == (-9 if how == "kill" else 0), out
        return out.decode()

    async def close(self) -> None:
        if self.process:
            await self.end("kill")
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def happen(self, state: str, repo: str = "web", count: int = 1) -> None:
        """As the daemon writes it."""
        for _ in range(count):
            job = str(uuid.uuid4())
            self._redis.data.hset(f"tinyci:job:{job}", mapping={"output": f"the last line\n{job}\n"})
            about = {"job": job, "repo": repo, "ref": "refs/heads/main", "revision": "1a2b3c4" + "0" * 33}
            self._redis.data.xadd("tinyci:events", {**about, "at": "2026-01-02T03:04:05.000006Z", "state": state})


@pytest_asyncio.fixture
async def post() -> AsyncIterator[WebhookServer]:
    async with WebhookServer() as made:
        yield made


@pytest_asyncio.fixture
async def notify(redis: Redis, tmp_path: Path, post: WebhookServer) -> AsyncIterator[Notify]:
    made = Notify(tmp_path, redis, f"ntfy://127.0.0.1:{post.port}/tk_s3cret")
    yield made
    await made.close()


def titles(post: WebhookServer) -> list[str]:
    return [each["title"].partition(" \u2013")[0] for each in post.taken]


def is_read(redis: Redis) -> bool:
    (group,) = redis.data.xinfo_groups("tinyci:events")
    return not group["lag"] and not group["pending"]


async def test_a_failure_and_a_recovery_are_told_and_an_uneventful_success_is_not(
    notify: Notify, post: WebhookServer
) -> None:
    notify.happen("failed")  # before it was there the first time
    await notify.start()
    for place, state in enumerate(["succeeded", "failed", "succeeded", "succeeded", "rolled-back"]):
        notify.happen("building")
        notify.happen(state)
        if place in (1, 2, 4):
            await post.until(taken=[1, 2, 0, 3][place - 1])
    assert titles(post) == ["web: failed", "web: recovered", "web: rolled-back"]
    assert "the last line" in post.taken[0]["message"]
    assert post.taken[0]["headers"]["X-Click"].startswith("http://ci/jobs/")
    assert "s3cret" not in await notify.end() + "".join(notify.said)


async def test_what_happens_while_it_is_down_is_told_when_it_is_back_as_one(
    notify: Notify, post: WebhookServer
) -> None:
    await notify.start()
    await notify.end()
    notify.happen("failed", count=300)
    notify.happen("succeeded", repo="mail")
    await notify.start()
    await post.until(taken=1)
    notify.happen("failed", repo="mail")
    await post.until(taken=2)
    assert titles(post) == ["web: 300 deploys, last failed", "mail: failed"]


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_what_was_told_is_not_told_again_after_a_restart(notify: Notify, post: WebhookServer, how: str) -> None:
    await notify.start()
    notify.happen("failed")
    await post.until(taken=1)
    await notify.until_told()
    await notify.end(how)
    await notify.start()
    notify.happen("timed-out")
    await post.until(taken=2)
    assert titles(post) == ["web: failed", "web: timed-out"]


async def test_killed_in_the_middle_of_sending_it_misses_nothing(notify: Notify, post: WebhookServer) -> None:
    await notify.start()
    post.answers.clear()
    notify.happen("failed")
    notify.happen("failed", repo="mail")
    await notify.until("messages that wait: 2")
    notify.happen("timed-out")
    await asyncio.sleep(0.5)  # past its gathering: it is posting
    await notify.end("kill")
    post.taken.clear()
    post.answers.set()
    await notify.start()
    # What the one that was killed had sent may have been taken besides.
    while not {"mail: failed", "web: 2 deploys, last timed-out"} <= set(titles(post)):
        await post.until(taken=len(post.taken) + 1)
    assert len(post.taken) <= 3


async def test_a_server_that_comes_back_gets_it_once(notify: Notify, post: WebhookServer) -> None:
    await notify.start()
    post.status = 503
    notify.happen("failed")
    await post.until(refused=2)
    notify.happen("failed")
    assert not post.taken
    post.status = 200
    await notify.until("ntfy://127.0.0.1 (line 1): it answers with status 503")
    await post.until(taken=1)
    await notify.until_told()
    notify.happen("succeeded")
    await post.until(taken=2)
    assert titles(post) == ["web: 2 deploys, last failed", "web: recovered"]
    assert "s3cret" not in await notify.end() + "".join(notify.said)


async def test_a_slow_server_holds_no_other_up(redis: Redis, tmp_path: Path, post: WebhookServer) -> None:
    async with WebhookServer() as slow:
        notify = Notify(
            tmp_path,
            redis,
            f"json://127.0.0.1:{slow.port}/slow",
            "nosuch://tk_s3cret",
            f"mail,web=json://127.0.0.1:{post.port}/quick",
            f"mail=json://127.0.0.1:{post.port}/mail",
        )
        slow.answers.clear()
        await notify.start()
        for place in range(3):
            notify.happen("failed")
            await post.until(taken=place + 1)
        assert {each["path"] for each in post.taken} == {"/quick"}
        assert not slow.taken
        slow.answers.set()
        await slow.until(taken=1)
        await notify.close()


async def test_a_redis_that_comes_back_is_read_on(own_redis: Redis, tmp_path: Path, post: WebhookServer) -> None:
    notify = Notify(tmp_path / "notify", own_redis, f"ntfy://127.0.0.1:{post.port}/x")
    await notify.start()
    own_redis.kill()
    await notify.until("STATUS=Redis does not answer")
    own_redis.start()
    notify.happen("failed")
    await post.until(taken=1)
    await notify.close()


async def test_a_reload_goes_by_what_the_repos_say_now(notify: Notify, post: WebhookServer, tmp_path: Path) -> None:
    await notify.start()
    (tmp_path / "etc/repos.d/web.toml").write_text(f'{REPO}notify = ["never"]\n')
    (tmp_path / "etc/repos.d/mail.toml").write_text(f'{REPO}notify = ["deploy"]\n')
    assert notify.process
    notify.process.send_signal(1)
    await notify.until("READY=1")
    notify.happen("failed")
    notify.happen("succeeded", repo="mail")
    await post.until(taken=1)
    assert titles(post) == ["mail: succeeded"]


async def test_a_memory_that_is_broken_is_put_aside(notify: Notify, post: WebhookServer, tmp_path: Path) -> None:
    (tmp_path / "state/memory.json").write_text("{")
    await notify.start()
    notify.happen("failed")
    await post.until(taken=1)
    assert (tmp_path / "state/memory.bad").read_text() == "{"


async def test_a_memory_that_cannot_be_written_stops_nothing(
    notify: Notify, post: WebhookServer, tmp_path: Path
) -> None:
    (tmp_path / "state/memory.new").mkdir()  # what even root cannot open
    await notify.start()
    notify.happen("failed")
    await post.until(taken=1)
    await notify.until("memory.new: Is a directory")
    (tmp_path / "state/memory.new").rmdir()
    notify.happen("timed-out")
    await post.until(taken=2)
    await notify.until_told()
    await notify.end("kill")
    await notify.start()
    notify.happen("succeeded")
    await post.until(taken=3)
    assert titles(post) == ["web: failed", "web: timed-out", "web: recovered"]


async def test_without_a_url_it_says_so_and_reads_on(redis: Redis, tmp_path: Path) -> None:
    notify = Notify(tmp_path, redis, "# nobody yet")
    await notify.start()
    await notify.until("STATUS=nobody to tell")
    notify.happen("failed")
    async with asyncio.timeout(LIMIT):
        while not is_read(redis):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.05)
    await notify.close()


async def test_a_test_says_of_each_url_whether_it_works(tmp_path: Path, post: WebhookServer) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/notify").write_text(
        f"ntfy://127.0.0.1:{post.port}/s3cret\njson://127.0.0.1:1/s3cret\nslack://s3cret\n"
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
    assert titles(post) == ["tinyci: a test"]
