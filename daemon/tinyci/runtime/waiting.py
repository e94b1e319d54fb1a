"""Waiting for the first of several things, whatever becomes of the others."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def first_of(*awaitables: Awaitable[Any], timeout: float | None = None) -> "asyncio.Future[Any] | None":
    """The first future that is done, in the order given; None after `timeout` seconds. The others are cancelled."""
    futures = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return next((each for each in futures if each.done()), None)
    finally:
        for each in futures:
            each.cancel()
