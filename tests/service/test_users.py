"""The users of tinyci's Redis may do what they are for, and nothing else."""

import pytest
import redis as library
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import LIMIT, Redis

JOB, QUEUE = "tinyci:job:x", "tinyci:queue"
NEW = "tinyci:new:00000000-0000-0000-0000-000000000000"


def ask(redis: Redis, user: str, *command: str) -> object:
    """The answer to a command, or the error."""
    client = library.Redis(
        unix_socket_path=redis.socket, username=user, password=f"secret-{user}", socket_timeout=LIMIT
    )
    try:
        return client.execute_command(*command)
    except library.RedisError as error:
        return error
    finally:
        client.close()


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("hook", f"HSET {NEW} repo web"),
        ("hook", f"LPUSH {QUEUE} x"),
        ("web", f"HGETALL {JOB}"),
        ("web", "ZREVRANGE tinyci:jobs 0 9"),
        ("web", "XRANGE tinyci:log:x - +"),
        ("web", "XREAD COUNT 1 STREAMS tinyci:events 0"),
        ("notify", f"HGETALL {JOB}"),
        ("notify", "XREAD COUNT 1 STREAMS tinyci:events 0"),
        ("notify", "XGROUP CREATE tinyci:events notify 0 MKSTREAM"),
        ("daemon", "INFO server"),
    ],
)
def test_a_user_may_do_what_it_is_for(redis: Redis, user: str, command: str) -> None:
    assert not isinstance(ask(redis, user, *command.split()), Exception)


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("hook", f"HSET {JOB} state queued"),
        ("hook", f"HSET {JOB}0000000-0000-0000-0000-000000000000 state succeeded"),
        ("hook", f"HSET {NEW}0 repo web"),
        ("hook", f"HSET {NEW[:-1]} repo web"),
        *(("hook", f"{command} {key}") for command in ("HGETALL", "DEL", "UNLINK", "PERSIST") for key in (JOB, NEW)),
        *(("hook", f"{command} repo") for command in (f"HGET {NEW}", f"HDEL {NEW}", f"HDEL {JOB}")),
        ("hook", f"RENAME {NEW} {JOB}"),
        ("hook", f"COPY {NEW} {JOB}"),
        ("hook", "ZADD tinyci:jobs 1 x"),
        ("hook", "SCAN 0"),
        ("hook", f"LRANGE {QUEUE} 0 -1"),
        ("hook", f"RPOP {QUEUE}"),
        ("hook", "LPUSH tinyci:accepted x"),
        ("hook", "XADD tinyci:events * a b"),
        ("hook", "HSET elsewhere a b"),
        ("web", f"HSET {JOB} state failed"),
        ("web", f"LPUSH {QUEUE} x"),
        ("web", "GET elsewhere"),
        ("notify", f"HSET {JOB} state failed"),
        ("notify", "XADD tinyci:events * a b"),
        ("notify", f"LPUSH {QUEUE} x"),
        ("notify", "XRANGE tinyci:log:x - +"),
        ("daemon", "GET elsewhere"),
        *((user, command) for user in ("daemon", "hook", "web", "notify") for command in ("FLUSHALL", "CONFIG GET *")),
        *((user, command) for user in ("daemon", "hook", "web", "notify") for command in ("ACL LIST", "KEYS *")),
    ],
)
def test_a_user_may_do_nothing_else(redis: Redis, user: str, command: str) -> None:
    answer = ask(redis, user, *command.split())
    assert isinstance(answer, library.exceptions.NoPermissionError), answer


def test_nobody_gets_in_without_a_password(redis: Redis) -> None:
    once = Retry(NoBackoff(), 0)
    client = library.Redis(unix_socket_path=redis.socket, socket_timeout=LIMIT, retry=once)
    with pytest.raises(library.AuthenticationError):
        client.ping()
    client.close()
    for user, password in (("default", ""), ("default", "secret-daemon"), ("hook", "secret-web"), ("nobody", "x")):
        client = library.Redis(
            unix_socket_path=redis.socket, username=user, password=password, socket_timeout=LIMIT, retry=once
        )
        with pytest.raises(library.AuthenticationError):
            client.ping()
        client.close()
