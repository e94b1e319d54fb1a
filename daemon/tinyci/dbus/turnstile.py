"""The turnstile at which calls of others wait: few of each caller are let in at once, and all callers in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

from dbus_next import Message

from tinyci.dbus.errors import BusError, BusGoneError

OPEN_MAX = 128
"""Calls of one connection that may have no answer yet; the system bus itself allows as many, but counts none whose
sender wants no answer."""
WORK_MAX = 32
"""Open calls among them that have others work for them: Redis, polkit, a manager."""
USER_WAITING_MAX = 256
"""Calls that wait for something, of all connections of a user: all followed pushes are of the user of git."""
_IDLE_MAX = 256
"""Connections without a call whose user is remembered."""


class Cost(Enum):
    """The cost of a call."""

    SHORT = "answered at once, out of memory"
    POLL = "waits for news"
    WORK = "has others work: Redis, polkit, a manager"


@dataclass(eq=False)
class _User:
    """A user of the host."""

    waiting_count: int = 0
    connections: "deque[_Connection]" = field(default_factory=deque)
    """Connections with calls that wait, in turn."""


@dataclass(eq=False)
class _Connection:
    """A caller."""

    name: str
    user: _User | None = None
    """None until the bus has said who it is."""
    lookup: "asyncio.Task[None] | None" = None
    open_count: int = 0
    work_count: int = 0
    waiting: deque[Message] = field(default_factory=deque)


class Turnstile:
    """The calls on one connection to a bus. A call that enter() takes is admitted, or refused, once; leave() must
    follow when it has been answered."""

    def __init__(
        self,
        admit: Callable[[Message], None],
        refuse: Callable[[Message, str], None],
        user_of: Callable[[str], Awaitable[int]],
        cost_of: Callable[[Message], Cost],
        pause: Callable[[], float],
    ) -> None:
        """`user_of` asks the bus for the uid of a caller. `pause`:
        seconds from one call to the next while more of them wait."""
        self._admit = admit
        self._refuse = refuse
        self._user_of = user_of
        self._cost_of = cost_of
        self._pause = pause
        self._connections: dict[str, _Connection] = {}
        """By unique name: all with an open call."""
        self._idle: OrderedDict[str, _Connection] = OrderedDict()
        """By unique name: some without."""
        self._users: dict[int, _User] = {}
        self._turns: deque[_User] = deque()
        """Users with calls that wait, in turn; each once."""

    def enter(self, message: Message) -> None:
        """Take a call, or refuse it at once."""
        connection = self._connection(message.sender)
        is_work = self._cost_of(message) is Cost.WORK
        if connection.open_count >= OPEN_MAX or (is_work and connection.work_count >= WORK_MAX):
            most = WORK_MAX if is_work else OPEN_MAX
            self._refuse(message, f"{most} of your questions have no answer yet: ask again when one has")
            return
        connection.open_count += 1
        connection.work_count += is_work
        connection.waiting.append(message)
        if connection.user:
            self._line_up(connection, connection.user)
        elif not connection.lookup:
            connection.lookup = asyncio.ensure_future(self._look_up(connection))

    def leave(self, message: Message) -> None:
        """Take note that a call which was admitted has its answer."""
        connection = self._connections[message.sender]
        if connection.user and self._cost_of(message) is not Cost.SHORT:
            connection.user.waiting_count -= 1
        self._forget_call(connection, message)

    def close(self) -> None:
        for connection in self._connections.values():
            if connection.lookup:
                connection.lookup.cancel()

    def _connection(self, name: str) -> _Connection:
        if name not in self._connections:
            self._connections[name] = self._idle.pop(name) if name in self._idle else _Connection(name)
        return self._connections[name]

    def _forget_call(self, connection: _Connection, message: Message) -> None:
        """Forget a call; of a connection without calls, remember the user at most."""
        connection.open_count -= 1
        connection.work_count -= self._cost_of(message) is Cost.WORK
        if connection.open_count:
            return
        del self._connections[connection.name]
        if connection.user:
            self._idle[connection.name] = connection
            if len(self._idle) > _IDLE_MAX:
                self._idle.popitem(last=False)

    async def _look_up(self, connection: _Connection) -> None:
        try:
            uid = await self._user_of(connection.name)
        except (BusError, BusGoneError):  # it has left the bus, or we have
            while connection.waiting:
                self._forget_call(connection, connection.waiting.popleft())
            return
        finally:
            connection.lookup = None
        connection.user = self._users.setdefault(uid, _User())
        self._line_up(connection, connection.user)

    def _line_up(self, connection: _Connection, user: _User) -> None:
        if connection not in user.connections:
            user.connections.append(connection)
        if user not in self._turns:
            self._turns.append(user)
            if len(self._turns) == 1:
                asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        """Admit one call; the next one in the next turn of the loop, after other calls were read, or later."""
        user = self._turns.popleft()
        connection = user.connections.popleft()
        message = connection.waiting.popleft()
        if connection.waiting:
            user.connections.append(connection)
        if user.connections:
            self._turns.append(user)
        if self._turns:
            asyncio.get_running_loop().call_later(self._pause(), self._serve)
        is_waiting = self._cost_of(message) is not Cost.SHORT
        if is_waiting and user.waiting_count >= USER_WAITING_MAX:
            text = f"{USER_WAITING_MAX} questions of your user have no answer yet: ask again when one has"
            self._refuse(message, text)
            self._forget_call(connection, message)
            return
        user.waiting_count += is_waiting
        self._admit(message)
