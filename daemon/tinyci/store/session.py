"""One user's connection to Redis, on which a refusal is an answer: doctor tries what each user may do."""

from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from tinyci.store.connection import client

_REFUSALS = (AuthenticationError, ResponseError)


class NoAnswerError(Exception):
    """Redis cannot be reached, or does not answer in time; one clause."""


class LoginError(Exception):
    """Redis does not let the user in, in its own words."""


class Session:
    """Commands one after the other over the same connection, so that MULTI and DISCARD can stand around them."""

    def __init__(self, socket: str, timeout: float) -> None:
        """`timeout`: seconds for each answer."""
        self._socket = socket
        # No client: it would make other types of replies, and QUEUED is the reply of every command after MULTI. Without
        # a user, since versions of the library differ in the error for one who is not let in.
        pool = client(socket, "", "", timeout).connection_pool
        # Nor the library's name: Redis 7.2 and later refuses to be told that before a login.
        pool.connection_kwargs.update(lib_name=None, lib_version=None)
        self._connection = pool.make_connection()

    async def log_in(self, user: str, password: str) -> None:
        """Connect as that user. Raises NoAnswerError and LoginError."""
        try:
            await self._connection.connect()
            await self._reply("AUTH", user, password)
        except _REFUSALS as error:
            raise LoginError(str(error)) from None
        except (RedisError, OSError) as error:
            raise self._no_answer(error) from None

    async def is_refused(self, *command: str) -> bool:
        """Send a command; return whether the user may not give it. Raises NoAnswerError."""
        try:
            await self._reply(*command)
        except NoPermissionError:
            return True
        except _REFUSALS:  # the user may, and it fails for another reason
            return False
        return False

    async def text(self, *command: str) -> str:
        """Return a reply that is text; nothing when Redis refuses it. Raises NoAnswerError."""
        try:
            return str(await self._reply(*command))
        except _REFUSALS:
            return ""

    async def close(self) -> None:
        await self._connection.disconnect()

    async def _reply(self, *command: str) -> Any:
        try:
            await self._connection.send_command(*command)
            return await self._connection.read_response()
        except _REFUSALS:
            raise
        except (RedisError, OSError) as error:
            raise self._no_answer(error) from None

    def _no_answer(self, error: Exception) -> NoAnswerError:
        # The library's own sentence has the number of the error and the socket in it.
        cause = error if isinstance(error, OSError) else error.__context__
        reason = cause.strerror if isinstance(cause, OSError) else None
        return NoAnswerError(f"{self._socket}: {reason or 'no answer'}")
