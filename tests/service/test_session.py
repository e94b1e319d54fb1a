"""Doctor's trials on a real Redis: each user may do just what it should, and an outage is told in a clause."""

import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from servers import Redis
from tinyci.doctor.redis import TRIES, try_user
from tinyci.store.session import LoginError, NoAnswerError, Session

Connect = Callable[[], Session]


@pytest_asyncio.fixture
async def connect(own_redis: Redis) -> AsyncIterator[Connect]:
    """Makes sessions that are closed afterwards."""
    sessions = []

    def session() -> Session:
        sessions.append(Session(own_redis.socket, 0.2))
        return sessions[-1]

    yield session
    for each in sessions:
        await each.close()


@pytest.mark.parametrize("user", TRIES)
async def test_each_user_may_do_just_what_it_should(redis: Redis, user: str) -> None:
    for finding in await try_user(redis.socket, user, f"secret-{user}", "restart it"):
        assert finding.verdict == "ok", finding


async def test_a_trial_leaves_no_trace(redis: Redis) -> None:
    for user in TRIES:
        await try_user(redis.socket, user, f"secret-{user}", "")
    assert redis.data.keys("*") == []


async def test_a_wrong_password_is_a_finding_with_redis_own_words(redis: Redis) -> None:
    (finding,) = await try_user(redis.socket, "web", "wrong", "restart it")
    assert finding.problem == "redis-acl-web/login"
    assert "invalid username-password pair" in finding.sentence


async def test_a_user_that_may_do_too_much_or_too_little_is_found_out(own_redis: Redis) -> None:
    own_redis.data.execute_command("ACL", "SETUSER", "web", "+config|get")
    own_redis.data.execute_command("ACL", "SETUSER", "hook", "clearselectors")
    (web,) = await try_user(own_redis.socket, "web", "secret-web", "")
    (hook,) = await try_user(own_redis.socket, "hook", "secret-hook", "")
    assert (web.problem, hook.problem) == ("redis-acl-web/grants", "redis-acl-hook/denies")
    assert web.sentence.endswith("CONFIG GET dir") and " HSET tinyci:new:0000" in hook.sentence


async def test_without_redis_it_is_said_why(own_redis: Redis, connect: Connect) -> None:
    own_redis.kill()
    with pytest.raises(NoAnswerError, match=rf"^{own_redis.socket}: Connection refused$"):
        await connect().log_in("web", "secret-web")
    session = Session("/nonexistent/redis.sock", 0.2)
    with pytest.raises(NoAnswerError, match=r"^/nonexistent/redis.sock: No such file or directory$"):
        await session.log_in("web", "secret-web")


async def test_a_redis_that_hangs_is_waited_for_no_longer_than_its_limit(own_redis: Redis, connect: Connect) -> None:
    session = connect()
    await session.log_in("daemon", "secret-daemon")
    own_redis.pause()
    begin = time.monotonic()
    try:
        with pytest.raises(NoAnswerError, match=f"^{own_redis.socket}: no answer$"):
            await session.text("PING")
        with pytest.raises(NoAnswerError, match=f"^{own_redis.socket}: no answer$"):
            await connect().log_in("web", "secret-web")
    finally:
        own_redis.resume()
    assert time.monotonic() - begin < 5


async def test_redis_words_on_a_login_are_told(connect: Connect) -> None:
    with pytest.raises(LoginError, match="username-password"):
        await connect().log_in("nobody", "secret")
