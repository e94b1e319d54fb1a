"""A stage believes the daemon's job file only as far as root's configuration agrees."""

import json
import os
import pwd
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tinyci.stage import runner, stagejob
from tinyci.stage.status import StageError

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
HEX = ID.replace("-", "")
GOOD = {"id": ID, "repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}
ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the daemon's `jobs` and root's `repos.d`; one job and its repo are there."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "repos.d").mkdir()
    monkeypatch.setenv("TINYCI_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("TINYCI_ETC", str(tmp_path))
    write_job(tmp_path, GOOD)
    write_repo(tmp_path, "web", ME)
    return tmp_path


def write_job(host: Path, fields: object, name: str = f"{HEX}.json") -> None:
    text = fields if isinstance(fields, str) else json.dumps(fields)
    (host / "jobs" / name).write_text(text, encoding="utf-8")


def write_repo(host: Path, name: str, user: str) -> None:
    text = f'repository = "/srv/git/{name}.git"\nuser = "{user}"\n'
    (host / "repos.d" / f"{name}.toml").write_text(text, encoding="utf-8")


def test_a_job_of_mine_is_loaded(host: Path) -> None:
    job, repo = stagejob.load(HEX)
    assert (job.id, job.revision, job.ref) == (ID, "a" * 40, "refs/heads/main")
    assert (repo.name, repo.repository, repo.user) == ("web", "/srv/git/web.git", ME)


@pytest.mark.parametrize(
    "instance", ["", "x", ID, HEX.upper(), HEX[:-1], HEX + "0", "../" + HEX, HEX + "\n", f"./{HEX}"[:32], "٣" * 32]
)
def test_an_instance_is_32_hexadecimal_digits(host: Path, instance: str) -> None:
    with pytest.raises(StageError, match="is not the instance of a job"):
        stagejob.load(instance)


def test_the_job_file_of_another_job_is_refused(host: Path) -> None:
    other = "1" * 32
    write_job(host, GOOD, name=f"{other}.json")
    with pytest.raises(StageError, match=f"is that of another job, {ID}"):
        stagejob.load(other)


def test_a_repo_of_another_user_is_refused(host: Path) -> None:
    write_repo(host, "web", "somebody")
    with pytest.raises(StageError, match=f"the repo web belongs to somebody, not to {ME}"):
        stagejob.load(HEX)


def test_a_job_file_cannot_say_whose_the_repo_is_or_where(host: Path) -> None:
    write_job(host, {**GOOD, "user": "somebody", "repository": "/home/somebody/evil.git", "script": "/bin/sh"})
    repo = stagejob.load(HEX).repo
    assert (repo.user, repo.repository, repo.script) == (ME, "/srv/git/web.git", "ci-build.sh")


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "..", ".", "web/../web", "", "we\0b", "web\n"])
def test_a_repo_outside_of_repos_d_is_refused(host: Path, name: str) -> None:
    write_repo(host, "../outside", ME)
    write_job(host, {**GOOD, "repo": name})
    with pytest.raises(StageError, match="is not the name of a repo"):
        stagejob.load(HEX)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({**GOOD, "revision": "HEAD"}, "is wrong: revision 'HEAD' is not a full object name"),
        ({**GOOD, "revision": "--exec=x"}, "is not a full object name"),
        ({**GOOD, "ref": "-x"}, "is not the full name of a ref"),
        ({**GOOD, "id": HEX}, "is not a job id"),
        ({**GOOD, "id": None}, "is not a job id"),
        ({}, "is wrong"),
        ([], "cannot be read"),
        ("null", "cannot be read"),
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "cannot be read"),
    ],
)
def test_a_wrong_job_file_is_refused_with_its_name(host: Path, fields: object, problem: str) -> None:
    write_job(host, fields)
    with pytest.raises(StageError) as info:
        stagejob.load(HEX)
    assert str(info.value).startswith(f"the job file {host}/jobs/{HEX}.json ")
    assert problem in str(info.value)


def test_a_missing_job_file_is_refused_with_its_name(host: Path) -> None:
    (host / "jobs" / f"{HEX}.json").unlink()
    with pytest.raises(StageError, match=rf"the job file {host}/jobs/{HEX}\.json cannot be read: .*No such file"):
        stagejob.load(HEX)


def test_a_repo_that_is_not_configured_is_refused(host: Path) -> None:
    (host / "repos.d" / "web.toml").unlink()
    with pytest.raises(StageError, match=r"the repo web is not configured: .*No such file"):
        stagejob.load(HEX)


def test_a_repo_that_is_wrongly_configured_is_refused(host: Path) -> None:
    (host / "repos.d" / "web.toml").write_text("repository = 5\n")
    with pytest.raises(StageError, match=r"the repo web is not configured: .*repository: expected the absolute path"):
        stagejob.load(HEX)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.sampled_from(list(GOOD)) | st.text(), children),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_no_job_file_leads_to_another_error(host: Path, value: object) -> None:
    write_job(host, value)
    with pytest.raises(StageError):  # Hypothesis cannot guess a job: the id must be ours
        stagejob.load(HEX)


def test_what_a_stage_says_is_in_its_output_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.fail(StageError("there is no such thing")) == 1
    assert capsys.readouterr().out == "tinyci: there is no such thing\n"
