"""Every state of the table has its looks, its filter, its JSON and its figures, without a word of it in tinyci.web."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tinyci
from prometheus_client.parser import text_string_to_metric_families
from tinyci.model.fields import FIELDS, SIGNATURES, Type
from tinyci.model.state import BAD, CONCLUSIVE, FINAL, LIVE, TABLE, Kind, State
from tinyci.store.viewer import Counts
from tinyci.web import badge, palette
from tinyci.web.assets import Assets
from tinyci.web.jobcache import IndexedJob
from tinyci.web.jobfacts import LABELS, facts, times
from tinyci.web.jobjson import as_json
from tinyci.web.jobstages import STAGES, stages
from tinyci.web.jobview import _SHOWN, UNKNOWN, JobView
from tinyci.web.listing import GROUPS, Query, page
from tinyci.web.metrics import Figures
from tinyci.web.render import Renderer
from tinyci.web.repostatus import repo_statuses

PACKAGE = Path(tinyci.__file__).parent
WEB = PACKAGE / "web"
CSS = (WEB / "static" / "style.css").read_text()
ID = "0d313b1e-cca8-41ec-8c59-67453021b8a9"
AT = "2026-01-01T00:00:00.000000Z"
RENDERER = Renderer(Assets())

every_state = pytest.mark.parametrize("state", TABLE, ids=str)


def job_in(state: str) -> JobView:
    return JobView(ID, {"repo": "web", "ref": "refs/heads/main", "state": state, "started": AT, "finished": AT})


def index_of(state: str) -> list[IndexedJob]:
    return [IndexedJob(job_in(state), 1.0, ID)]


@every_state
def test_a_page_shows_the_state_with_its_sign_in_the_looks_of_its_kind(state: State) -> None:
    job = job_in(state)
    text = RENDERER.html(
        "job.html",
        "/jobs/x",
        job=job,
        facts=facts(job),
        times=times(job),
        stages=stages(job),
        title=job.title,
        lines=[],
        last=0,
        earlier=None,
        before=None,
        is_tail=False,
        unit_lines=[],
    )
    row = TABLE[state]
    assert f'class="state {row.kind}" data-state="{state}"' in text
    assert f">{row.sign}</span>" in text
    assert f"<title>{job.title}" in text


@every_state
def test_its_stages_say_where_it_is_or_how_it_ended(state: State) -> None:
    statuses = {stage.name: stage.status for stage in stages(job_in(state))}
    assert tuple(statuses) == STAGES
    assert set(statuses.values()) <= {"waiting", "now", "done", "failed", "skipped"}
    assert [name for name, status in statuses.items() if status == "now"] == [TABLE[state].stage] * (state in LIVE)
    if state in FINAL:
        assert "waiting" not in statuses.values()
        assert ("failed" in statuses.values()) == (TABLE[state].kind != Kind.GOOD)


@every_state
def test_json_says_the_state_and_success_when_it_has_ended(state: State) -> None:
    told = as_json(job_in(state))
    assert told["state"] == state
    assert told["success"] is (None if state in LIVE else False)


@every_state
def test_a_list_is_filtered_by_it_and_by_its_group(state: State) -> None:
    index = index_of(state)
    filters = {state: True, "live": state in LIVE, "unsuccessful": state in BAD}
    for word, is_match in filters.items():
        assert bool(page(index, Query.parse({"state": word})).jobs) == is_match
    text = RENDERER.html(
        "jobs.html",
        "/",
        query=Query(),
        page=page(index, Query()),
        repos=[],
        groups=tuple(GROUPS),
        newer=None,
        older=None,
    )
    assert f'<option value="{state}">{state}</option>' in text


@every_state
def test_it_is_the_status_of_its_repo_when_it_is_conclusive(state: State) -> None:
    status = repo_statuses(index_of(state))["web"]
    assert (status.last is not None) == (state in CONCLUSIVE)
    assert bool(status.live) == (state in LIVE)
    assert (status.running is not None) == (TABLE[state].kind == Kind.GOOD)


@every_state
def test_its_jobs_are_counted(state: State) -> None:
    text = Figures(index_of(state), Counts(0, 0, False), 0, 0).text().decode()
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["tinyci_jobs", *sorted(("web", str(state)))] == 1
    success = samples.get(("tinyci_last_job_success", "refs/heads/main", "web"))
    assert success == (float(TABLE[state].kind == Kind.GOOD) if state in CONCLUSIVE else None)


@every_state
def test_its_badge_has_the_colour_of_its_kind(state: State) -> None:
    job = job_in(state)
    picture = badge.svg("web", job.state, job.kind)
    assert f'<title id="t">web: {state}</title>' in picture
    assert f'fill="{badge.COLOURS.get(TABLE[state].kind, badge.COLOUR)}"' in picture


def test_any_other_text_is_shown_as_unknown() -> None:
    job = job_in("sleeping")
    assert (job.state, job.known_state, job.kind, job.sign, job.stage) == ("sleeping", UNKNOWN, UNKNOWN, "?", "")
    assert not job.is_final | job.is_live | job.is_good | job.is_conclusive


def test_the_groups_are_those_of_the_table() -> None:
    assert {str(state) for state in TABLE if state not in FINAL} == GROUPS["live"]
    assert {str(state) for state in TABLE if TABLE[state].kind == Kind.BAD} == GROUPS["unsuccessful"]


# -- looks ----------------------------------------------------------------------------------------------------------


def test_the_style_sheet_knows_kinds_and_no_states() -> None:
    classes = set(re.findall(r"\.state\.([a-z-]+)", CSS)) | set(re.findall(r"\.trend \.([a-z-]+)", CSS))
    assert {Kind.LIVE, Kind.GOOD, Kind.BAD} <= classes <= set(Kind)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_the_looks_of_every_kind_can_be_read(scheme: int) -> None:
    rules = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[scheme]
    colours = {name: colour(text) for name, text in re.findall(r"--(\w+): (#[0-9a-f]{6});", rules)}
    for name in ("good", "bad", "live", "still"):
        assert palette.contrast(colours[name], colours[f"{name}bg"]) >= palette.READABLE, name
    assert palette.contrast(colours["text"], colours["notebg"]) >= palette.READABLE


def test_the_word_on_every_badge_can_be_read() -> None:
    for ground in (*badge.COLOURS.values(), badge.COLOUR):
        assert palette.contrast((255, 255, 255), colour(ground)) >= palette.READABLE, ground


def colour(text: str) -> palette.Colour:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


# -- nothing of it is written down twice -----------------------------------------------------------------------------


def test_no_state_is_spelled_in_the_pages() -> None:
    words = set(map(str, State))
    spelled = {
        (path.name, node.value)
        for path in WEB.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in words
    }
    assert spelled == {("jobstages.py", "failed")}, "which is the status of a stage"
    for path in (*WEB.glob("templates/*"), *WEB.glob("static/*.js")):
        assert not words & set(re.findall(r"""['"]([a-z-]+)['"]""", path.read_text())), path


def test_a_state_more_in_the_table_is_all_that_it_takes(tmp_path: Path) -> None:
    """The tests above, with a final state that the pages have never heard of."""
    shutil.copytree(PACKAGE, tmp_path / "tinyci", ignore=shutil.ignore_patterns("__pycache__"))
    table = tmp_path / "tinyci" / "model" / "state.py"
    text = table.read_text()
    first_word, first_row = 'QUEUED = "queued"\n', "TABLE: Mapping[State, Row] = {\n"
    assert text.count(first_word) == text.count(first_row) == 1
    text = text.replace(first_word, f'{first_word}    ABANDONED = "abandoned"\n')
    table.write_text(text.replace(first_row, f'{first_row}    _S.ABANDONED: Row(_next(), _K.BAD, "!", "was"),\n'))
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-o", f"pythonpath={tmp_path}", __file__]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    tests = subprocess.run(
        [*command, "-k", "not state_more"],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout
    assert tests.stdout.count("[abandoned] PASSED") == 7


# -- fields ---------------------------------------------------------------------------------------------------------


def test_the_attributes_of_a_job_have_the_types_of_their_fields() -> None:
    types = {
        **{Type.TEXT: str, Type.TIME: float | None, Type.DURATION: float | None},
        **{Type.COUNT: int, Type.STATUS: int | None, Type.FLAG: bool},
    }
    assert set(types) == set(SIGNATURES)
    declared = {"id": str, **{field.name: types[field.type] for field in _SHOWN}}
    assert JobView.__annotations__.items() <= declared.items()


def test_what_has_a_label_is_shown_and_the_other_way_round() -> None:
    job = job_in("")
    assert list(facts(job)) == list(LABELS)
    assert times(job).keys() <= LABELS.keys()


def test_json_has_the_fields_that_the_list_of_fields_says() -> None:
    assert list(as_json(job_in(""))) == ["id", *(field.name for field in FIELDS if field.in_json)]
