"""The record of a repo's images has enough to go back, and no more than is to be kept."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.stage.imagerecord import MAX_JOBS, DeployedImages, ImageRecord

WEB = "localhost/web:latest"
UNIT = "/home/web/.config/containers/systemd/web.container"


def record_of_build(running: dict[str, str]) -> ImageRecord:
    """Return a record in which the build of job `j1` has begun."""
    record = ImageRecord()
    record.begin("j1", running, {})
    return record


def test_a_new_image_is_expected_to_run() -> None:
    record = record_of_build({WEB: "old"})
    record.end({WEB: "new"})
    assert record.is_new
    assert record.expected_images == {WEB: "new"}
    assert record.moved_images == {WEB: ("old", "new")}


def test_after_a_rollback_the_old_one_is_expected_to_run() -> None:
    record = record_of_build({WEB: "old"})
    record.end({WEB: "new"})
    record.roll_back()
    assert record.expected_images == {WEB: "old"}


@pytest.mark.parametrize(
    ("running", "after", "is_new"),
    [
        pytest.param({WEB: "old"}, {WEB: "old"}, False, id="nothing changed"),
        pytest.param({WEB: "old"}, {WEB: "new"}, True, id="another image"),
        pytest.param({WEB: "old"}, {"localhost/site:latest": "new"}, True, id="another name"),
        pytest.param({}, {WEB: "new"}, True, id="nothing ran"),
        pytest.param({}, {}, True, id="nothing is known"),
    ],
)
def test_what_is_new_for_the_units(running: dict[str, str], after: dict[str, str], *, is_new: bool) -> None:
    record = record_of_build(running)
    record.end(after)
    assert record.is_new is is_new


def test_a_build_that_begins_again_remembers_what_ran_at_first() -> None:
    record = record_of_build({WEB: "old"})
    record.end({WEB: "new"})
    record.begin("j1", {WEB: "new"}, {})  # the reboot started the container from the new image
    assert record.images_before == {WEB: "old"}


def test_where_nothing_runs_a_rollback_goes_to_the_last_success() -> None:
    record = ImageRecord()
    record.begin("j1", {}, {})
    record.add_success("j1", {WEB: "one"}, {}, 3)
    record.begin("j2", {}, {})
    assert record.images_before == {WEB: "one"}


def test_a_success_whose_units_fell_over_is_none() -> None:
    record = ImageRecord()
    record.begin("j1", {WEB: "old"}, {})
    record.add_success("j1", {WEB: "new"}, {}, 3)
    record.roll_back()
    assert record.success_of("j1") is None
    assert record.images_in_use() == {"old"}


def test_the_same_images_are_kept_once_for_all_their_jobs() -> None:
    record = ImageRecord()
    for job in ("j1", "j2", "j3"):
        record.begin(job, {}, {})
        record.add_success(job, {WEB: "one" if job != "j2" else "two"}, {}, 3)
    assert [(success.jobs, success.images[WEB]) for success in record.successes] == [
        (["j2"], "two"),
        (["j1", "j3"], "one"),
    ]
    assert record.success_of("j1") == record.successes[1]


def test_another_unit_file_is_another_version() -> None:
    record = ImageRecord()
    record.begin("j1", {}, {})
    record.add_success("j1", {WEB: "one"}, {UNIT: "v1"}, 3)
    record.begin("j2", {WEB: "one"}, {UNIT: "v1"})
    record.add_success("j2", {WEB: "one"}, {UNIT: "v2"}, 3)
    assert [success.files[UNIT] for success in record.successes] == ["v1", "v2"]


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=120), st.integers(1, 4))
def test_nothing_grows_and_what_runs_is_always_kept(deploys: list[tuple[int, bool]], limit: int) -> None:
    record, runs = ImageRecord(), "first"
    for number, (image, good) in enumerate(deploys):
        job = f"j{number}"
        record.begin(job, {WEB: runs}, {})
        record.end({WEB: f"i{image}"})
        assert runs in record.images_in_use()
        if good:
            runs = f"i{image}"
            record.add_success(job, {WEB: runs}, {}, limit)
            success = record.success_of(job)
            assert success
            assert success.images == {WEB: runs}
        else:
            record.roll_back()
        assert len(record.successes) <= limit
        assert len(record.images_in_use()) <= limit + 1
        assert all(len(success.jobs) <= MAX_JOBS for success in record.successes)
        assert runs in record.images_in_use()


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = ImageRecord(
        job="j2",
        images_before={WEB: "old"},
        images_after={WEB: "new"},
        files_before={UNIT: "[Container]\n"},
        products=[WEB],
        definition="abc",
        is_rolled_back=True,
        strays={"x": "y"},
        successes=[DeployedImages(["j1"], {WEB: "old"}, {UNIT: ""}), DeployedImages(["j0"], {WEB: "older"})],
    )
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
