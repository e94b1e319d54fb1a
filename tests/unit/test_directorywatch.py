"""A new file in a directory is news at once."""

import asyncio
import os
from pathlib import Path

import pytest
from tinyci.runtime.directorywatch import watched

LIMIT = 10.0


async def heard(news: asyncio.Event) -> None:
    async with asyncio.timeout(LIMIT):
        await news.wait()
    news.clear()


@pytest.mark.asyncio
async def test_each_file_that_is_made_or_renamed_is_news(tmp_path: Path) -> None:
    news = asyncio.Event()
    with watched(str(tmp_path), news):
        for number in range(3):
            (tmp_path / f".{number}").write_text("")
            await heard(news)
            os.rename(tmp_path / f".{number}", tmp_path / f"{number}.json")
            await heard(news)


@pytest.mark.asyncio
async def test_nothing_is_heard_any_more_of_a_directory_that_is_not_watched(tmp_path: Path) -> None:
    news = asyncio.Event()
    with watched(str(tmp_path), news):
        pass
    (tmp_path / "file").write_text("")  # the signal would end this process
    assert not news.is_set()


@pytest.mark.asyncio
async def test_a_directory_that_is_not_there_has_no_news(tmp_path: Path) -> None:
    news = asyncio.Event()
    with watched(str(tmp_path / "none"), news):
        assert not news.is_set()
