"""What the daemon says of what its deploys need, however many ask."""

import asyncio
from typing import Any, cast

import pytest
from tinyci.api.requests import RequestError
from tinyci.daemon.diagnosis import Check, Diagnosis
from tinyci.daemon.dispatch import Dispatch, Repos
from tinyci.model.repo import Repo
from tinyci.store.writer import StoreWriter


class Counting(Diagnosis):
    """Each examination of a repo takes until `go`; how many there were, and how many at once."""

    def __init__(self) -> None:
        repos = Repos(by_name={"web": Repo.placeholder("web", "web"), "other": Repo.placeholder("other", "web")})
        dispatch = type("Dispatched", (), {"repos": repos})()
        super().__init__(cast(StoreWriter, None), cast(Dispatch, dispatch), lambda: cast(Any, None))
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.made, self.now, self.most = 0, 0, 0

    async def _repo(self, name: str) -> list[Check]:
        self.made, self.now = self.made + 1, self.now + 1
        self.most = max(self.most, self.now)
        self.begun.set()
        await self.go.wait()
        self.now -= 1
        return [Check("made", True, f"{name} {self.made}")]


async def test_however_many_ask_one_is_made_at_a_time_and_shared() -> None:
    diagnosis = Counting()
    first = asyncio.ensure_future(diagnosis.of("web", None))
    await diagnosis.begun.wait()
    later = [asyncio.ensure_future(diagnosis.of("web", None)) for _ in range(100)]
    await asyncio.sleep(0)
    diagnosis.go.set()
    assert await first == [Check("made", True, "web 1")]
    assert await asyncio.gather(*later) == [[Check("made", True, "web 2")]] * 100, (
        "none has what was so before it asked"
    )
    assert (diagnosis.made, diagnosis.most) == (2, 1)


async def test_what_hangs_holds_up_no_other() -> None:
    diagnosis = Counting()
    hanging = asyncio.ensure_future(diagnosis.of("web", None))
    await diagnosis.begun.wait()
    other = asyncio.ensure_future(diagnosis.of("other", None))
    diagnosis.begun.clear()
    await asyncio.wait_for(diagnosis.begun.wait(), 5)
    diagnosis.go.set()
    assert len(await hanging) == len(await other) == 1


async def test_a_repo_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(RequestError, match="no repo nobody-knows") as error:
        await Counting().of("nobody-knows", None)
    assert error.value.name == "NoSuchRepo"
