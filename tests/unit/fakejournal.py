"""A journal of this process: entries that a test stores, and the news of them, as python-systemd's reader has both."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType

from tinyci.runtime import clock

Entry = dict[str, bytes]


class FakeJournal:
    """All entries, and readers of them. `error` is raised for each reader that is opened."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, Entry]] = []
        self.error: OSError | None = None
        self.steps = 0
        """Number of entries that readers went to."""
        self._news_read, self._news_write = os.pipe2(os.O_NONBLOCK)

    def store(self, lines: Iterable[bytes], stream: str = "1", uid: int = 1001, **fields: str) -> None:
        """Store entries of a stream."""
        for line in lines:
            entry = {"MESSAGE": line, "_STREAM_ID": stream.encode(), "_UID": str(uid).encode()}
            entry |= {"_TRANSPORT": b"stdout"} | {name: text.encode() for name, text in fields.items()}
            self.entries.append((time.monotonic(), entry))
        self.announce()

    def announce(self) -> None:
        """Wake readers, as any entry of anybody does."""
        os.write(self._news_write, b"x")

    def open(self) -> "FakeReader":
        if self.error:
            raise self.error
        return FakeReader(self, self._news_read)

    def close(self) -> None:
        os.close(self._news_read)
        os.close(self._news_write)


class FakeReader:
    """The calls of journal.Reader that tinyci uses."""

    data_threshold = 0

    def __init__(self, journal: FakeJournal, news: int) -> None:
        self._journal = journal
        self._news = news
        self._alternatives: list[list[tuple[str, bytes]]] = [[]]
        self._place = -1

    def __enter__(self) -> "FakeReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def fileno(self) -> int:
        return self._news

    def process(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._news, 65536)

    def add_match(self, match: str) -> None:
        name, _, text = match.partition("=")
        self._alternatives[-1].append((name, text.encode()))

    def add_disjunction(self) -> None:
        self._alternatives.append([])

    def seek_head(self) -> None:
        self._place = -1

    def seek_tail(self) -> None:
        self._place = len(self._journal.entries)

    def _next(self) -> bool:
        return self._go(range(self._place + 1, len(self._journal.entries)))

    def _previous(self) -> bool:
        return self._go(range(self._place - 1, -1, -1))

    def _go(self, places: range) -> bool:
        for place in places:
            entry = self._journal.entries[place][1]
            if any(all(entry.get(name) == text for name, text in matches) for matches in self._alternatives):
                self._place = place
                self._journal.steps += 1
                return True
        return False

    def _get(self, name: str) -> bytes:
        return self._journal.entries[self._place][1][name]

    def _get_monotonic(self) -> tuple[int, bytes]:
        return int(self._journal.entries[self._place][0] * 1_000_000), bytes.fromhex(clock.moment().boot_id)
