"""A build's output in Redis: its log up to a cap, its tail, and a sentence where the journal could not be read."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from servers import Redis
from tinyci.daemon.output import Limits, Output
from tinyci.store.writer import StoreWriter
from tinyci.systemd.journal import JournalError

JOB = "0b2e4f6c-cca8-41ec-8c59-67453021b8a9"


class FakeBuildOutput:
    """Some batches of lines, and then the end, or an error."""

    def __init__(self, *batches: list[str], error: str = "") -> None:
        self._batches = batches
        self._error = error

    async def follow(self, unit_end: asyncio.Event, patience: float) -> AsyncIterator[list[str]]:
        for batch in self._batches:
            yield batch
        if self._error:
            raise JournalError(self._error)


async def record(store: StoreWriter, lines: FakeBuildOutput, limits: Limits) -> Output:
    async def on_first(line: str) -> None:
        pass

    output = Output(store, limits)
    await output.record(lines, asyncio.Event(), JOB, 0, on_first)  # type: ignore[arg-type]
    return output


def log(redis: Redis) -> list[str]:
    return [fields["line"] for _, fields in redis.data.xrange(f"tinyci:log:{JOB}")]


@pytest.mark.asyncio
async def test_a_journal_that_cannot_be_read_is_a_line_of_the_output(store: StoreWriter, redis: Redis) -> None:
    lines = FakeBuildOutput(["printed"], error="the journal cannot be read: Too many open files")
    output = await record(store, lines, Limits(log=1000, output=1000))
    sentence = "[tinyci: the journal cannot be read: Too many open files; the output may be incomplete]"
    assert log(redis) == ["printed", sentence]
    assert output.text() == f"printed\n{sentence}\n"


@pytest.mark.asyncio
async def test_lines_over_the_cap_cost_little_and_the_tail_is_that_of_the_end(store: StoreWriter, redis: Redis) -> None:
    batches = [[f"{turn} {number} {'x' * 80}" for number in range(2000)] for turn in range(100)]
    begin = time.process_time()
    output = await record(store, FakeBuildOutput(*batches), Limits(log=10_000, output=10_000))
    needed = time.process_time() - begin
    print(f"{needed:.2f} s of the processor for 200,000 lines, most of them over the cap")
    assert needed < 1.0
    assert log(redis)[-1] == "[tinyci: 10000 bytes are kept; the rest: journalctl -t tinyci-build]"
    assert output.text().endswith(f"99 1999 {'x' * 80}\n")
    assert len(output.text()) < 10_200


def questions(redis: Redis) -> int:
    """Return how often the end of a log has been asked for."""
    return int(redis.data.info("commandstats").get("cmdstat_xrevrange", {}).get("calls", 0))


@pytest.mark.asyncio
async def test_the_lines_of_a_log_that_are_known_are_not_counted_again(store: StoreWriter, redis: Redis) -> None:
    async def on_first(line: str) -> None:
        pass

    await store.add_lines(JOB, 1, ["of the attempt before"])
    before = questions(redis)
    output = Output(store, Limits(log=1000, output=1000), line_count=1)
    await output.record(FakeBuildOutput(["printed"]), asyncio.Event(), JOB, 1, on_first)  # type: ignore[arg-type]
    assert log(redis) == ["of the attempt before", "printed"]
    assert questions(redis) == before
