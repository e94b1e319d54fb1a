"""doctor cites what a program said last: of a traceback the error, and no drawing around it."""

import asyncio
import traceback
from collections.abc import Callable

import pytest
from tinyci.doctor.lastwords import last_words
from tinyci.doctor.system import CommandResult


def fail_in_tasks() -> None:
    async def fail() -> None:
        raise OSError("the socket is gone")

    async def fail_in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    asyncio.run(fail_in_a_group())


def fail_in_groups() -> None:
    raise ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("one"), OSError("the socket is gone")])])


def fail_for_a_reason() -> None:
    try:
        {}["key"]
    except KeyError as error:
        raise OSError("the socket is gone") from error


def fail_in_many() -> None:
    raise ExceptionGroup("many", [OSError("the socket is gone")] * 40)


@pytest.mark.parametrize("fail", [fail_in_groups, fail_in_tasks, fail_for_a_reason, fail_in_many])
def test_of_a_traceback_it_is_the_error(fail: Callable[[], None]) -> None:
    with pytest.raises((OSError, ExceptionGroup)) as caught:
        fail()
    text = "".join(traceback.format_exception(caught.value))
    assert last_words(text.splitlines()) == "OSError: the socket is gone"
    assert CommandResult(1, "some output\n", f"{text}\n\n").last == "OSError: the socket is gone"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("\n  \n", ""),
        ("one\n  two  \n\n", "two"),
        ("- a list\n- of two", "- of two"),
        ("error\n    +------------------------------------", "error"),
        ("error\n  +---------------- 2 ----------------", "error"),
        ("--help is no option", "--help is no option"),
    ],
)
def test_of_other_lines_it_is_the_last(text: str, words: str) -> None:
    assert last_words(text.splitlines()) == words
