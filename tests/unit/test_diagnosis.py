"""The daemon checks what deploys need once for all who ask at the same time."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from tinyci.api.checks import Check
from tinyci.api.requests import RequestError
from tinyci.daemon.diagnosis import Diagnosis
from tinyci.daemon.dispatch import Dispatch
from tinyci.model.repo import Repo
from tinyci.model.repos import Repos
from tinyci.store.writer import StoreWriter


class CountedDiagnosis(Diagnosis):
    """Counts its examinations of repos, each of which takes until `go`."""

    def __init__(self) -> None:
        repos = Repos(by_name={"web": Repo.placeholder("web", "web"), "other": Repo.placeholder("other", "web")})
        dispatch = type("Dispatched", (), {"repos": repos})()
        super().__init__(cast(StoreWriter, None), cast(Dispatch, dispatch), Path("/nonexistent"))
        self.go = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.count, self.running, self.most_running = 0, 0, 0

    async def _check_repo(self, name: str) -> list[Check]:
        self.count, self.running = self.count + 1, self.running + 1
        self.most_running = max(self.most_running, self.running)
        self.has_begun.set()
        await self.go.wait()
        self.running -= 1
        return [Check.success("made", f"{name} {self.count}")]


async def test_however_many_ask_one_is_made_at_a_time_and_shared() -> None:
    diagnosis = CountedDiagnosis()
    first = asyncio.ensure_future(diagnosis.examine("web", None))
    await diagnosis.has_begun.wait()
    later = [asyncio.ensure_future(diagnosis.examine("web", None)) for _ in range(100)]
    await asyncio.sleep(0)
    diagnosis.go.set()
    assert await first == [Check.success("made", "web 1")]
    assert await asyncio.gather(*later) == [[Check.success("made", "web 2")]] * 100, (
        "none has what was so before it asked"
    )
    assert (diagnosis.count, diagnosis.most_running) == (2, 1)


async def test_what_hangs_holds_up_no_other() -> None:
    diagnosis = CountedDiagnosis()
    hanging = asyncio.ensure_future(diagnosis.examine("web", None))
    await diagnosis.has_begun.wait()
    other = asyncio.ensure_future(diagnosis.examine("other", None))
    diagnosis.has_begun.clear()
    await asyncio.wait_for(diagnosis.has_begun.wait(), 5)
    diagnosis.go.set()
    assert len(await hanging) == len(await other) == 1


async def test_a_repo_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(RequestError, match="no repo nobody-knows") as error:
        await CountedDiagnosis().examine("nobody-knows", None)
    assert error.value.name == "NoSuchRepo"
