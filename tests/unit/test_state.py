"""States follow each other as design and table say."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from tinyci.model.state import FINAL, TABLE, State, check_transition, table


def test_finals_are_the_eight_of_the_design() -> None:
    bad = {"failed", "cancelled", "timed-out", "superseded", "rejected", "rolled-back"}
    assert set(FINAL) == {"succeeded", "unchanged", *bad}


def test_a_final_state_has_no_next() -> None:
    for final in FINAL:
        assert not TABLE[final].next
        for after in State:
            with pytest.raises(ValueError, match=f"cannot go from {final} to {after}"):
                check_transition(final, after)


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
def test_every_other_state_reaches_a_final_one(state: State) -> None:
    reachable, to_see = set(), [state]
    while to_see:
        each = to_see.pop()
        if each not in reachable:
            reachable.add(each)
            to_see.extend(TABLE[each].next)
    assert reachable & FINAL


@pytest.mark.parametrize(
    "steps",
    [
        "queued building restarting verifying succeeded",
        "queued superseded",
        "queued cancelled",
        "queued rejected",
        "building failed",
        "building cancelled",
        "building timed-out",
        "building building",  # a reboot cut it off
        "building succeeded",  # a repo without units
        "restarting rolling-back rolled-back",
        "verifying rolling-back failed",
    ],
)
def test_the_steps_of_the_design_are_steps(steps: str) -> None:
    states = [State(word) for word in steps.split()]
    for before, after in pairwise(states):
        check_transition(before, after)


@pytest.mark.parametrize("before", [State.RESTARTING, State.VERIFYING, State.ROLLING_BACK])
@pytest.mark.parametrize("after", [State.QUEUED, State.BUILDING, State.SUPERSEDED, State.CANCELLED, State.REJECTED])
def test_a_deploy_that_touched_a_unit_is_never_taken_back_in_silence(before: State, after: State) -> None:
    with pytest.raises(ValueError, match="cannot go from"):
        check_transition(before, after)


@pytest.mark.parametrize("before", [state for state in State if state not in (State.BUILDING, State.VERIFYING)])
def test_success_comes_after_a_build_or_a_verification_only(before: State) -> None:
    with pytest.raises(ValueError, match="cannot go from"):
        check_transition(before, State.SUCCEEDED)


def test_the_table_has_a_line_for_each_state_in_the_order_of_a_jobs_life() -> None:
    head, rule, *lines = table().splitlines()
    assert head == "| state | kind | sign | exit status | may become |"
    assert rule == "|---|---|---|---|---|"
    assert [line.split(" | ")[0] for line in lines] == [f"| {state}" for state in State]
    assert "| verifying | live | ● |  | rolling-back, succeeded, failed |" in lines
    assert lines[-1].startswith("| rolled-back | bad | ↩ | 11 |")


def test_the_manual_page_shows_which_state_may_follow_which() -> None:
    page = (Path(__file__).parents[2] / "daemon" / "man" / "tinyci.service.8.md").read_text(encoding="utf-8")
    section = page.partition("# STATES OF A JOB")[2].partition("\n# ")[0]
    arrows = dict(re.findall(r"^([a-z-]+) -> (.+)$", section, re.MULTILINE))
    shown = {before: set(after.split(" | ")) for before, after in arrows.items()}
    assert shown == {state: set(row.next) for state, row in TABLE.items() if row.next}
