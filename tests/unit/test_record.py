"""What is remembered of a repo's images: enough to go back, and no more than is to be kept."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.stage.record import JOBS_PER_KEPT, DeployedImages, Record

WEB, TEST = "localhost/web:latest", "localhost/web-test:latest"


def begun(running: dict[str, str], names: dict[str, str], job: str = "j1") -> tuple[Record, dict[str, str]]:
    record = Record()
    record.begin(job, running)
    return record, names


def test_a_new_image_is_expected_to_run() -> None:
    record, names = begun({WEB: "old"}, {WEB: "old", "base": "b"})
    assert record.built(names, {WEB: "new", "base": "b"})
    assert record.expected(WEB) == "new"
    assert record.expected("base") == "", "of what the build did not touch nothing is known"
    assert record.strays == {}


def test_after_a_rollback_the_old_one_is_expected_to_run() -> None:
    record, names = begun({WEB: "old"}, {WEB: "old"})
    record.built(names, {WEB: "new"})
    record.went_back()
    assert record.expected(WEB) == "old"


def test_a_build_of_another_name_is_a_stray_until_one_of_the_right_name() -> None:
    record, names = begun({WEB: "old"}, {WEB: "old"})
    wrong = {WEB: "old", "localhost/wbe:latest": "new"}
    assert not record.built(names, wrong)
    assert record.strays == {"localhost/wbe:latest": "new"}
    record.begin("j2", {WEB: "old"})
    assert not record.built(wrong, wrong), "built from the cache: nothing changed at all"
    assert record.strays == {"localhost/wbe:latest": "new"}
    record.begin("j3", {WEB: "old"})
    assert not record.built(wrong, {**wrong, "localhost/wbe:latest": "newer"})
    assert record.strays == {"localhost/wbe:latest": "newer"}
    record.begin("j4", {WEB: "old"})
    assert record.built(wrong, {**wrong, WEB: "newer"})
    assert record.strays == {}


@pytest.mark.parametrize(
    ("names", "after"),
    [
        pytest.param({WEB: "old"}, {WEB: "old"}, id="nothing changed"),
        pytest.param({WEB: "old"}, {WEB: "old", "localhost/web:0d31": "old"}, id="one more name of the same"),
        pytest.param({WEB: "old", TEST: "t1"}, {WEB: "old", TEST: "t2"}, id="a helper image that was there before"),
    ],
)
def test_a_build_from_the_cache_is_no_stray(names: dict[str, str], after: dict[str, str]) -> None:
    record, _ = begun({WEB: "old"}, names)
    assert not record.built(names, after)
    assert record.strays == {}


def test_what_a_deploy_without_a_restart_left_is_new_for_the_container() -> None:
    """The name was given away before, and the container runs the older image yet."""
    record, names = begun({WEB: "old"}, {WEB: "new"})
    assert record.built(names, {WEB: "new"})


def test_a_first_build_has_nothing_to_compare_with() -> None:
    record, names = begun({}, {})
    assert record.built(names, {WEB: "new"})
    assert record.before == {}


def test_a_build_that_begins_again_remembers_what_ran_at_first() -> None:
    record, names = begun({WEB: "old"}, {WEB: "old"})
    record.built(names, {WEB: "new"})
    record.begin("j1", {WEB: "new"})  # the reboot started the container from the new image
    assert record.before == {WEB: "old"}


def test_where_nothing_runs_the_last_success_is_gone_back_to() -> None:
    record = Record()
    record.begin("j1", {})
    record.succeeded("j1", {WEB: "one"}, 3)
    record.begin("j2", {})
    assert record.before == {WEB: "one"}


def test_a_success_whose_units_fell_over_is_none() -> None:
    record = Record()
    record.begin("j1", {WEB: "old"})
    record.succeeded("j1", {WEB: "new"}, 3)
    record.went_back()
    assert record.images_of("j1") == {}
    assert record.in_use() == {"old"}


def test_the_same_images_are_kept_once_for_all_their_jobs() -> None:
    record = Record()
    for job in ("j1", "j2", "j3"):
        record.begin(job, {})
        record.succeeded(job, {WEB: "one" if job != "j2" else "two"}, 3)
    assert [(kept.jobs, kept.images[WEB]) for kept in record.kept] == [(["j2"], "two"), (["j1", "j3"], "one")]
    assert record.images_of("j1") == {WEB: "one"}


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=120), st.integers(1, 4))
def test_nothing_grows_and_what_runs_is_always_kept(deploys: list[tuple[int, bool]], most: int) -> None:
    record, runs = Record(), "first"
    for number, (image, good) in enumerate(deploys):
        job = f"j{number}"
        record.begin(job, {WEB: runs})
        record.built({WEB: runs}, {WEB: f"i{image}"})
        assert runs in record.in_use()
        if good:
            runs = f"i{image}"
            record.succeeded(job, {WEB: runs}, most)
            assert record.images_of(job) == {WEB: runs}
        else:
            record.went_back()
        assert len(record.kept) <= most
        assert len(record.in_use()) <= most + 1
        assert all(len(kept.jobs) <= JOBS_PER_KEPT for kept in record.kept)
        assert runs in record.in_use()


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = Record("j2", {WEB: "old"}, {WEB: "new"}, True, {"x": "y"}, [DeployedImages(["j1"], {WEB: "old"})])
    record.save(tmp_path / "web.json")
    assert Record.load(tmp_path / "web.json") == record
    assert Record.load(tmp_path / "none.json") == Record()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kept": 1}', '{"kept": [], "before": [1]}', '{"kept": [{}]}'])
def test_what_is_no_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "web.json").write_text(text)
    with pytest.raises(ValueError, match=r"web\.json is no record of tinyci's: remove it"):
        Record.load(tmp_path / "web.json")
