"""Connections to tinyci's Redis over its Unix socket."""

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


class _UnixSocket(redis.UnixDomainSocketConnection):  # type: ignore[misc]
    # redis-py before 4.5 (Debian 12) names both when it says that a connection was reset or gave no answer in time. A
    # Unix socket has neither, and the AttributeError would be taken for a defect of ours.
    host = "localhost"
    port = 0


def client(socket: str, user: str, password: str, timeout: float) -> redis.Redis:
    """A client that connects as needed. `timeout`: seconds for each answer."""
    # Explicit, since the defaults differ between versions: a retried BLMOVE whose reply was lost would take another id,
    # and a socket timeout below the block time would never let it end.
    pool = redis.ConnectionPool(
        connection_class=_UnixSocket,
        path=socket,
        username=user,
        password=password,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="surrogateescape",  # what is not UTF-8 goes back as it came
    )
    return redis.Redis(connection_pool=pool)
