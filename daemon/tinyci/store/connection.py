"""Connections to tinyci's Redis over its Unix socket."""

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def client(socket: str, user: str, password: str, timeout: float) -> redis.Redis:
    """A client that connects as needed. `timeout`: seconds for each answer."""
    # Explicit, since the defaults differ between versions: a retried BLMOVE whose reply was lost would take another id,
    # and a socket timeout below the block time would never let it end.
    pool = redis.ConnectionPool(
        connection_class=redis.UnixDomainSocketConnection,
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
