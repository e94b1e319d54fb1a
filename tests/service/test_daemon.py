"""The process of the daemon: it starts or says why not, and a reload comes to its end whatever it finds."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_next.aio import MessageBus as Connection
from servers import MessageBus, Redis
from tinyci.daemon import main
from tinyci.daemon.main import Daemon


@pytest.fixture
def etc(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a daemon that is started in this process."""
    etc = tmp_path / "etc"
    (etc / "repos.d").mkdir(parents=True)
    (etc / "tinyci.toml").write_text(f'[redis]\nsocket = "{redis.socket}"\n')
    (etc / "redis-password").write_text("secret-daemon\n")
    monkeypatch.setenv("TINYCI_ETC", str(etc))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(etc))
    monkeypatch.setattr(main, "log_to_journal", lambda: None)
    return etc


@pytest.fixture
def first_daemon(system_bus: MessageBus) -> Iterator[None]:
    """Somebody who has the daemon's name on the bus."""

    async def own_name() -> Connection:
        connection = await Connection(bus_address=system_bus.address).connect()
        await connection.request_name("org.tinyci1")
        return connection

    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(own_name())
    yield
    connection.disconnect()
    loop.run_until_complete(connection.wait_for_disconnect())
    loop.close()


@pytest.fixture
def no_bus(system_bus: MessageBus) -> Iterator[None]:
    system_bus.kill()
    yield
    system_bus.start()


@pytest.mark.usefixtures("etc")
@pytest.mark.parametrize("obstacle", ["first_daemon", "no_bus"])
def test_a_daemon_that_cannot_serve_says_why_in_a_sentence(request: pytest.FixtureRequest, obstacle: str) -> None:
    """Though its tasks are in groups, whose errors are groups."""
    request.getfixturevalue(obstacle)
    with pytest.raises(SystemExit) as info:
        main.main()
    sentence = str(info.value)
    print(sentence)
    assert sentence.startswith("tinyci-daemon: ")
    assert sentence.endswith(": is there a system bus, and does no other tinyci-daemon run?")
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("name", ["tinyci.toml", "repos.d"])
async def test_a_reload_ends_though_a_file_cannot_be_read(
    etc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Else the unit would be `reloading` for ever. What can be read is read again."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        daemon = Daemon(etc, "secret-daemon")
        (etc / "repos.d" / "web.toml").write_text('repository = "/srv/git/web.git"\nuser = "web"\n')
        (etc / name).rename(etc / "gone")
        (etc / name).mkdir() if name == "tinyci.toml" else (etc / name).touch()  # no right keeps root out
        daemon._reload()
        messages = [manager.recv(4096), manager.recv(4096)]
    await daemon._store.close()
    assert [message.splitlines()[0] for message in messages] == [b"RELOADING=1", b"READY=1"]
    (error,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    problem = "Is a directory" if name == "tinyci.toml" else "Not a directory"
    assert error.startswith(f"{etc / name}: {problem}; the ")
    assert list(daemon._dispatch.repos.by_name) == (["web"] if name == "tinyci.toml" else [])


async def test_many_changes_at_once_are_one_status(etc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service manager tells each of them to all that listen."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        daemon = Daemon(etc, "secret-daemon")
        for _ in range(100):
            daemon.redis_away("Connection refused")
            daemon.queue_changed()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            status = await loop.sock_recv(manager, 4096)
            daemon._notify("X_END=1")
            following = await loop.sock_recv(manager, 4096)
    await daemon._store.close()
    assert (status, following) == (b"STATUS=Redis does not answer (Connection refused); waiting for it", b"X_END=1")
