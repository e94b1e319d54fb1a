"""Kept jobs are taken in push order, and a file that holds none is named and does not stop the others."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tinyci.daemon import spool
from tinyci.hook import pusher
from tinyci.hook.jobqueue import JobQueue

FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}


def keep(directory: Path, number: int, job_id: str, second: int = 1_700_000_000) -> Path:
    path = directory / f"{second}000000-{number:04}-{job_id}.json"
    path.write_text(json.dumps({"id": job_id, **FIELDS}))
    return path


def test_kept_jobs_come_in_push_order(tmp_path: Path) -> None:
    keep(tmp_path, 1, "c", second=1_700_000_002)
    keep(tmp_path, 2, "b")
    keep(tmp_path, 10, "z")
    path = keep(tmp_path, 1, "a")
    spool_files = list(spool.read(str(tmp_path)))
    assert [each.id for each in spool_files] == ["a", "b", "z", "c"]
    assert spool_files[0] == (path, "a", FIELDS, 1_700_000_000.0, "")


def test_a_file_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    keep(tmp_path, 1, "a").rename(tmp_path / "1700000000000000-0001-a.json.new")
    assert list(spool.read(str(tmp_path))) == []


def test_a_kept_job_is_on_the_disk_under_its_name_before_the_pusher_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a power cut loses neither its text nor its name; the hook may not sync the directory."""
    steps: list[str] = []

    def traced(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object) -> object:
            steps.append(name)
            return call(*arguments)

        return step

    for module, name in ((os, "fsync"), (os, "rename"), (pusher, "say")):
        monkeypatch.setattr(module, name, traced(name, getattr(module, name)))
    monkeypatch.setenv("TINYCI_SPOOL", str(tmp_path))
    with JobQueue(str(tmp_path / "no-etc")) as jobs:
        jobs.add("web", "refs/heads/main", "a" * 40, "0" * 40)
    assert steps == ["fsync", "rename", "fsync", "say"]
    assert [each.id for each in spool.read(str(tmp_path))] == jobs.spooled


def test_a_directory_that_is_not_there_holds_no_jobs(tmp_path: Path) -> None:
    assert list(spool.read(str(tmp_path / "none"))) == []


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"[]", b"5", b"null", b"{}", b'{"id"', b"\xff\xfe", b'{"repo": "x"}', b'{"id": ""}'),
        *(b"[" * 60_000, b"[" * 200_000, b'{"id":' * 9_000, b"1" * 60_000, b'{"id": "' + b"x" * 65 + b'"}'),
        b'{"id": "a", "repo": "' + b"x" * 70_000 + b'"}',
    ],
    ids=lambda text: text[:12],
)
def test_a_file_that_holds_no_job_is_named_and_stops_no_other(tmp_path: Path, text: bytes) -> None:
    bad = tmp_path / "1600000000000000-0001-bad.json"
    bad.write_bytes(text)
    keep(tmp_path, 1, "a")
    wrong, good = spool.read(str(tmp_path))
    assert (wrong.path, wrong.id) == (bad, "")
    assert wrong.problem.startswith(f"{bad} is not a kept job: ")
    assert (good.id, good.problem) == ("a", "")


def test_a_name_that_would_be_lines_of_the_log_is_one(tmp_path: Path) -> None:
    (tmp_path / "1700000000000000-1\n\x1b[2Jall is well\udcff.json").write_text("")
    (spool_file,) = spool.read(str(tmp_path))
    assert r"-1\x0a\x1b[2Jall is well\xff.json is not a kept job: " in spool_file.problem


def test_a_name_without_a_time_is_no_kept_job(tmp_path: Path) -> None:
    keep(tmp_path, 1, "a").rename(tmp_path / "job.json")
    (spool_file,) = spool.read(str(tmp_path))
    assert spool_file.problem


def test_a_directory_that_is_named_like_a_job_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "1600000000000000-0001-d.json").mkdir()
    keep(tmp_path, 1, "a")
    wrong, good = spool.read(str(tmp_path))
    assert wrong.problem
    assert good.id == "a"


def test_every_field_is_text(tmp_path: Path) -> None:
    (tmp_path / "1600000000000000-0001-a.json").write_text('{"id": "a", "repo": 5, "ref": null}')
    (spool_file,) = spool.read(str(tmp_path))
    assert spool_file.fields == {"repo": "5", "ref": "None"}


def test_a_pipe_in_the_spool_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0000000000000001-0001-x.json")
    (spool_file,) = spool.read(str(tmp_path))
    assert "not a regular file" in spool_file.problem


def test_nothing_but_what_the_hook_writes_is_taken(tmp_path: Path) -> None:
    path = keep(tmp_path, 1, "a")
    path.write_text(json.dumps({"id": "a", **FIELDS, "state": "restarting", "dependents": "x.service", "user": "root"}))
    (spool_file,) = spool.read(str(tmp_path))
    assert spool_file.fields == FIELDS


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"id": "a", **FIELDS}))
    (tmp_path / "1700000000000000-0001-a.json").symlink_to(secret)
    (spool_file,) = spool.read(str(tmp_path))
    assert spool_file.problem and not spool_file.id
