"""Waiting for the first of several things, whatever becomes of the others."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def first_of(*awaitables: Awaitable[Any], timeout: float | None = None) -> "asyncio.Future[Any] | None":
    """Return the first future that is done, and cancel the others; None after `timeout` seconds.

    When several are done at once, it is the first one in the order of the arguments.
    """
    futures = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return next((each for each in futures if each.done()), None)
    finally:
        for each in futures:
            each.cancel()


def leaf_of(error: BaseException) -> BaseException:
    """The first error in a group, and in a group in that; any other error is its own. A TaskGroup raises groups, while
    people and `except` clauses want the error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
