"""The record of a repo's images has enough to go back, and no more than is to be kept."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.stage.imagerecord import MAX_JOBS, DeployedImages, ImageRecord

WEB, TEST = "localhost/web:latest", "localhost/web-test:latest"


def record_of_build(running: dict[str, str]) -> ImageRecord:
    """Return a record in which the build of job `j1` has begun."""
    record = ImageRecord()
    record.begin("j1", running)
    return record


def test_a_new_image_is_expected_to_run() -> None:
    record = record_of_build({WEB: "old"})
    assert record.end({WEB: "old", "base": "b"}, {WEB: "new", "base": "b"})
    assert record.expected_image(WEB) == "new"
    assert record.expected_image("base") == "", "of what the build did not touch nothing is known"
    assert record.strays == {}


def test_after_a_rollback_the_old_one_is_expected_to_run() -> None:
    record = record_of_build({WEB: "old"})
    record.end({WEB: "old"}, {WEB: "new"})
    record.roll_back()
    assert record.expected_image(WEB) == "old"


def test_a_build_of_another_name_is_a_stray_until_one_of_the_right_name() -> None:
    record = record_of_build({WEB: "old"})
    wrong = {WEB: "old", "localhost/wbe:latest": "new"}
    assert not record.end({WEB: "old"}, wrong)
    assert record.strays == {"localhost/wbe:latest": "new"}
    record.begin("j2", {WEB: "old"})
    assert not record.end(wrong, wrong), "built from the cache: nothing changed at all"
    assert record.strays == {"localhost/wbe:latest": "new"}
    record.begin("j3", {WEB: "old"})
    assert not record.end(wrong, {**wrong, "localhost/wbe:latest": "newer"})
    assert record.strays == {"localhost/wbe:latest": "newer"}
    record.begin("j4", {WEB: "old"})
    assert record.end(wrong, {**wrong, WEB: "newer"})
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
    record = record_of_build({WEB: "old"})
    assert not record.end(names, after)
    assert record.strays == {}


def test_what_a_deploy_without_a_restart_left_is_new_for_the_container() -> None:
    """The name was given away before, and the container runs the older image yet."""
    record = record_of_build({WEB: "old"})
    assert record.end({WEB: "new"}, {WEB: "new"})


def test_a_first_build_has_nothing_to_compare_with() -> None:
    record = record_of_build({})
    assert record.end({}, {WEB: "new"})
    assert record.images_before == {}


def test_a_build_that_begins_again_remembers_what_ran_at_first() -> None:
    record = record_of_build({WEB: "old"})
    record.end({WEB: "old"}, {WEB: "new"})
    record.begin("j1", {WEB: "new"})  # the reboot started the container from the new image
    assert record.images_before == {WEB: "old"}


def test_where_nothing_runs_a_rollback_goes_to_the_last_success() -> None:
    record = ImageRecord()
    record.begin("j1", {})
    record.add_success("j1", {WEB: "one"}, 3)
    record.begin("j2", {})
    assert record.images_before == {WEB: "one"}


def test_a_success_whose_units_fell_over_is_none() -> None:
    record = ImageRecord()
    record.begin("j1", {WEB: "old"})
    record.add_success("j1", {WEB: "new"}, 3)
    record.roll_back()
    assert record.images_of("j1") == {}
    assert record.images_in_use() == {"old"}


def test_the_same_images_are_kept_once_for_all_their_jobs() -> None:
    record = ImageRecord()
    for job in ("j1", "j2", "j3"):
        record.begin(job, {})
        record.add_success(job, {WEB: "one" if job != "j2" else "two"}, 3)
    assert [(success.jobs, success.images[WEB]) for success in record.successes] == [
        (["j2"], "two"),
        (["j1", "j3"], "one"),
    ]
    assert record.images_of("j1") == {WEB: "one"}


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=120), st.integers(1, 4))
def test_nothing_grows_and_what_runs_is_always_kept(deploys: list[tuple[int, bool]], limit: int) -> None:
    record, runs = ImageRecord(), "first"
    for number, (image, good) in enumerate(deploys):
        job = f"j{number}"
        record.begin(job, {WEB: runs})
        record.end({WEB: runs}, {WEB: f"i{image}"})
        assert runs in record.images_in_use()
        if good:
            runs = f"i{image}"
            record.add_success(job, {WEB: runs}, limit)
            assert record.images_of(job) == {WEB: runs}
        else:
            record.roll_back()
        assert len(record.successes) <= limit
        assert len(record.images_in_use()) <= limit + 1
        assert all(len(success.jobs) <= MAX_JOBS for success in record.successes)
        assert runs in record.images_in_use()


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = ImageRecord("j2", {WEB: "old"}, {WEB: "new"}, True, {"x": "y"}, [DeployedImages(["j1"], {WEB: "old"})])
    record.save(tmp_path / "web.json")
    assert ImageRecord.load(tmp_path / "web.json") == record
    assert ImageRecord.load(tmp_path / "none.json") == ImageRecord()


def test_a_record_of_an_older_version_is_read_and_written_with_the_same_keys(tmp_path: Path) -> None:
    """An upgrade must not forget the images that a job can go back to, nor must a downgrade after it."""
    file, text = tmp_path / "web.json", (Path(__file__).parent / "imagerecord-0.1.json").read_text()
    file.write_text(text)
    record = ImageRecord.load(file)
    assert record == ImageRecord(
        job="j3",
        images_before={WEB: "one"},
        images_after={WEB: "two"},
        is_rolled_back=True,
        strays={"localhost/wbe:latest": "x"},
        successes=[DeployedImages([], {WEB: "zero"}), DeployedImages(["j1", "j2"], {WEB: "one"})],
    )
    record.save(file)
    assert file.read_text() == text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kept": 1}', '{"kept": [], "before": [1]}', '{"kept": [{}]}'])
def test_what_is_no_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "web.json").write_text(text)
    with pytest.raises(ValueError, match=r"web\.json is no record of tinyci's: remove it"):
        ImageRecord.load(tmp_path / "web.json")
