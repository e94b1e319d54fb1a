"""Names that people write for jobs, and the answer when one fits none or several."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.cli.exitstatus import UNKNOWN, CommandError
from tinyci.cli.jobnames import ListedJob, find, short

JOBS = [
    ListedJob("0d313b1e-cca8-41ec-8c59-67453021b8a9", "web", "refs/heads/main", "failed", "/1"),
    ListedJob("0d31ffff-cca8-41ec-8c59-67453021b8a9", "mail", "refs/heads/main", "succeeded", "/2"),
    ListedJob("beef0000-cca8-41ec-8c59-67453021b8a9", "web", "refs/heads/main", "building", "/3"),
    ListedJob("cafe0000-cca8-41ec-8c59-67453021b8a9", "dead", "refs/heads/main", "queued", "/4"),
    ListedJob("dead0000-cca8-41ec-8c59-67453021b8a9", "mail", "refs/heads/main", "queued", "/5"),
]
REPOS = ["dead", "idle", "mail", "web"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("0d313b1e-cca8-41ec-8c59-67453021b8a9", "/1"),
        ("0d313b1ecca841ec8c5967453021b8a9", "/1"),
        ("0d313", "/1"),
        ("0D313B1E-CCA8", "/1"),
        ("b", "/3"),
        ("@", "/5"),
        ("web", "/3"),
        ("dead", "/4"),  # a repo's name is meant before the beginning of an id
        ("dead0", "/5"),
    ],
)
def test_a_job_is_named_by_its_id_a_beginning_a_repo_or_as_the_newest(name: str, path: str) -> None:
    assert find(JOBS, REPOS, name).path == path


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("0d31", "2 jobs have ids that begin with 0d31: 0d31ffff (mail, succeeded), 0d313b1e (web, failed)"),
        ("idle", "the repo idle has no job yet: push to it, or 'tinyci run idle'"),
        (
            "wbe",
            "no job has an id that begins with 'wbe', and no repo is called so: the repos are dead, idle, mail, web",
        ),
        ("", "no job has an id that begins with ''"),
        ("-", "no job has an id that begins with '-'"),
        ("\x1b[2J", r"no job has an id that begins with '\x1b[2J'"),
    ],
)
def test_what_fits_no_job_or_several_is_answered_with_candidates(name: str, sentence: str) -> None:
    with pytest.raises(CommandError, match="^" + re.escape(sentence)) as error:
        find(JOBS, REPOS, name)
    assert error.value.status == UNKNOWN


def test_without_any_job_it_is_said_how_to_get_one() -> None:
    with pytest.raises(CommandError, match=r"^there is no job yet: push to a repo \(web\)$"):
        find([], ["web"], "@")


@given(st.lists(st.uuids(version=4), min_size=1, max_size=30, unique=True))
def test_the_short_form_of_an_id_is_found_again(ids: list[object]) -> None:
    jobs = [ListedJob(str(each), "web", "refs/heads/main", "queued", f"/{each}") for each in ids]
    for job in jobs:
        assert find(jobs, [], short(job.id, jobs)) == job
