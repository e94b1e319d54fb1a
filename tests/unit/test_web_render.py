"""Pages, JSON and figures of any data: no exception, and no markup out of data."""

import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tinyci.model.state import State
from tinyci.store.viewer import Counts
from tinyci.web import ansi, badge, jobfacts, metrics, trend
from tinyci.web.assets import Assets
from tinyci.web.jobcache import IndexedJob
from tinyci.web.jobjson import as_json
from tinyci.web.jobstages import stages
from tinyci.web.jobview import FIELD_NAMES, JobView
from tinyci.web.listing import GROUPS, Query, QueryError, page
from tinyci.web.render import Renderer, root
from tinyci.web.repostatus import newest, repo_statuses
from tinyci.web.responses import json_response

ID = "0d313b1e-cca8-41ec-8c59-67453021b8a9"
RENDERER = Renderer(Assets())
HOSTILE = st.sampled_from(
    [
        *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", "</textarea>"),
        *(
            "{{ 7*7 }}",
            "{% raw %}",
            "javascript:alert(1)",
            "\x1b[31mred",
            "\u202egnp.exe",
            "\udcff\udc00",
            "\x00",
            "a\nb",
        ),
        *("x" * 5000, "nan", "inf", "-1", "1e400", "9" * 5000, "2026-01-01T00:00:00.000000Z", "0001-01-01T00:00:00"),
        *("9999-12-31T23:59:59.999999-23:59", "../../x", "&lt;", *State, "web", "refs/heads/main", "true"),
    ]
)
HASHES = st.dictionaries(st.sampled_from(FIELD_NAMES), HOSTILE | st.text(max_size=20))
IDS = st.just(ID) | HOSTILE | st.text(max_size=40)
ENTRIES = st.lists(st.tuples(IDS, st.none() | HASHES, st.floats(0, 2e9)), max_size=6)


class Outline(HTMLParser):
    """Tags with the names of their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, ...]] = set()
        self.words: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, *sorted(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outline(template: str, **values: object) -> Outline:
    text = RENDERER.html(template, "/jobs/x", **values)
    text.encode()
    return Outline(text)


def job_page(fields: dict[str, str] | None, lines: list[str]) -> Outline:
    job = JobView(ID, fields)
    return outline(
        "job.html",
        job=job,
        facts=jobfacts.facts(job),
        times=jobfacts.times(job),
        stages=stages(job),
        title=job.title,
        lines=[(number, ansi.spans(line)) for number, line in enumerate(lines, 1)],
        last=len(lines),
        earlier=1,
        before=None,
        is_tail=False,
        unit_lines=[ansi.spans(line) for line in lines],
    )


def index_of(entries: list[tuple[str, dict[str, str] | None, float]]) -> list[IndexedJob]:
    index = [IndexedJob(JobView(job_id, fields, time), time, job_id) for job_id, fields, time in entries]
    return sorted(index, key=lambda each: (each.time, each.id), reverse=True)


ALLOWED = {"a", "abbr", "body", "button", "caption", "datalist", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2"}
ALLOWED |= {"head", "header", "html", "input", "label", "li", "link", "main", "meta", "nav", "noscript", "ol", "option"}
ALLOWED |= {"p", "rect", "script", "section", "select", "span", "svg", "table", "tbody", "td", "th", "thead", "time"}
ALLOWED |= {"title", "tr"}


def check(page_outline: Outline, own: str = ID) -> None:
    assert {tag for tag, *_ in page_outline.tags} <= ALLOWED
    attributes = {name for _, *names in page_outline.tags for name in names}
    assert not {name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")}
    assert sum(tag == "script" for tag, *_ in page_outline.tags) <= 1
    for link in page_outline.links:
        assert link == "#main" or link.startswith(("../", "./", own)), link


@given(HASHES | st.none(), st.lists(HOSTILE | st.text(max_size=20), max_size=3))
@example({"state": "rolled-back", "restart_started": "2026-01-01T00:00:00.000000Z"}, [])
def test_any_hash_and_any_output_is_a_page(fields: dict[str, str] | None, lines: list[str]) -> None:
    page_outline = job_page(fields, lines)
    check(page_outline)
    text = "".join(page_outline.words)
    for line in lines:
        assert ansi.text(line).strip() in text


@given(ENTRIES)
def test_any_list_of_jobs_is_a_page(entries: list[tuple[str, dict[str, str] | None, float]]) -> None:
    index = index_of(entries)
    check(
        outline(
            "jobs.html",
            query=Query(),
            page=page(index, Query()),
            repos=sorted({each.job.repo for each in index}),
            groups=tuple(GROUPS),
            newer=None,
            older="?after=x",
        )
    )
    statuses = repo_statuses(index)
    check(outline("repos.html", repos=list(statuses.values())))
    for name, status in statuses.items():
        check(
            outline(
                "repo.html",
                repo=status,
                query=Query(repo=name),
                page=page(index, Query(repo=name)),
                trend=trend.trend(status.jobs),
                width=trend.WIDTH,
                height=trend.HEIGHT,
                newer=None,
                older=None,
            ),
            name,
        )


@given(ENTRIES)
def test_any_list_of_jobs_is_json_and_figures(entries: list[tuple[str, dict[str, str] | None, float]]) -> None:
    index = index_of(entries)
    body = json_response([as_json(each.job) for each in index]).body
    assert isinstance(body, bytes)
    assert len(json.loads(body)) == len(index)
    metrics.Figures(index, Counts(1, None, False), 1, 1).text().decode()


@given(HOSTILE | st.text(max_size=60), HOSTILE | st.text(max_size=20))
def test_a_badge_says_what_it_is_of_whatever_that_is(label: str, state: str) -> None:
    job = JobView(ID, {"repo": label, "state": state})
    picture = ElementTree.fromstring(badge.svg(job.repo, job.state, job.kind))
    title = picture.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text == f"{shorten(job.repo)}: {shorten(job.state)}".replace("\r\n", "\n")
    assert {each.tag.rpartition("}")[2] for each in picture.iter()} == {"svg", "title", "rect", "path", "g", "text"}


def shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


# -- one job -------------------------------------------------------------------------------------------------------


def stages_of(**fields: str) -> list[str]:
    return [f"{stage.name} {stage.status}" for stage in stages(JobView(ID, fields))]


AT = "2026-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        ({"repo": "web"}, "now waiting waiting waiting skipped"),
        ({"state": "building", "build_started": AT}, "done now waiting waiting skipped"),
        ({"state": "verifying", "restart_started": AT}, "done done done now skipped"),
        ({"state": "failed", "build_started": AT}, "done failed skipped skipped skipped"),
        ({"state": "cancelled"}, "failed skipped skipped skipped skipped"),
        (
            {"state": "rolled-back", "build_started": AT, "restart_started": AT, "failure": "x"},
            "done done failed skipped done",
        ),
        (
            {"state": "failed", "build_started": AT, "restart_started": AT, "restart_duration": "1", "failure": "x"},
            "done done done failed failed",
        ),
        ({"state": "rolling-back", "restart_started": AT, "failure": "x"}, "done done failed done now"),
    ],
)
def test_stages_say_how_far_a_job_is(fields: dict[str, str], statuses: str) -> None:
    assert " ".join(each.partition(" ")[2] for each in stages_of(**fields)) == statuses


def test_stages_of_a_success_are_those_that_there_were() -> None:
    fields = {"state": "succeeded", "created": AT, "started": AT, "build_duration": "12.34"}
    assert stages_of(**fields) == ["queue done", "build done", "restart skipped", "verify skipped", "rollback skipped"]
    lengths = [stage.took for stage in stages(JobView(ID, fields))]
    assert lengths == ["0.0 s", "12.3 s", "", "", ""]


def job(number: int, state: str = State.SUCCEEDED, repo: str = "web", **fields: str) -> IndexedJob:
    time = 1_000_000 + number
    stamp = f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000000Z"
    defaults = {"repo": repo, "ref": "refs/heads/main", "state": state, "started": stamp, "finished": stamp}
    return IndexedJob(JobView(f"{number:08}-cca8-41ec-8c59-67453021b8a9", defaults | fields), time, f"{number:08}")


def runs(*index: IndexedJob) -> tuple[str, bool]:
    one = repo_statuses(index)["web"]
    return (one.running.short if one.running else "", bool(one.doubt))


def test_what_runs_is_what_succeeded_last() -> None:
    assert runs(job(2), job(1)) == ("00000002", False)
    assert runs(job(3, "building"), job(2, "failed"), job(1)) == ("00000001", False)
    assert runs(job(2, "failed")) == ("", False)


def test_a_rollback_leaves_what_ran_and_half_a_restart_leaves_a_doubt() -> None:
    assert runs(job(2, "rolled-back", restart_started=AT), job(1)) == ("00000001", False)
    assert runs(job(2, "failed", restart_started=AT), job(1)) == ("00000001", True)
    assert runs(job(3), job(2, "failed", restart_started=AT), job(1)) == ("00000003", False)


def test_the_newest_that_tells_is_found_by_ref() -> None:
    index = [job(3, "cancelled"), job(2, "failed", ref="refs/tags/v1"), job(1)]
    jobs = [newest(index, "web", ref) for ref in ("", "main", "refs/tags/v1", "v2")]
    assert [each and each.short for each in jobs] == ["00000002", "00000001", "00000002", None]
    assert newest(index, "api", "") is None


# -- lists ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(1, 10))
@settings(max_examples=50)
def test_pages_have_each_job_once_in_order(count: int, limit: int) -> None:
    index = [job(number) for number in reversed(range(count))]
    ids: list[str] = []
    newer: list[str | None] = []
    query = Query(limit=limit)
    while True:
        jobs_page = page(index, query)
        ids += [job.short for job in jobs_page.jobs]
        newer.append(jobs_page.newer)
        if jobs_page.older is None:
            break
        query = query.at(jobs_page.older)
    assert ids == [each.job.short for each in index]
    assert newer[0] is None
    if len(newer) > 2:
        assert page(index, Query(limit=limit).at(newer[2] or "")) == page(index, Query(limit=limit).at(newer[2] or ""))
        assert page(index, Query(limit=limit, after=newer[2] or "")).jobs == page(index, _second(index, limit)).jobs


def _second(index: list[IndexedJob], limit: int) -> Query:
    return Query(limit=limit, after=page(index, Query(limit=limit)).older or "")


def test_a_page_stays_where_it_is_while_jobs_come_and_go() -> None:
    index = [job(number) for number in reversed(range(10))]
    query = Query(limit=3, after=page(index, Query(limit=3)).older or "")
    jobs = page(index, query).jobs
    assert page([job(11), job(10), *index], query).jobs == jobs
    assert page([each for each in index if each.id != "00000007"], query).jobs == jobs, "the job before it is gone"


def test_filters_take_what_matches_all_of_them() -> None:
    index = [job(4, "building"), job(3, "failed", repo="api"), job(2, "failed", ref="refs/tags/v1"), job(1, "failed")]

    def ids(**parameters: str) -> list[str]:
        return [job.short[-1] for job in page(index, Query.parse(parameters)).jobs]

    assert ids(repo="web", state="failed") == ["2", "1"]
    assert ids(ref="main", state="unsuccessful") == ["3", "1"]
    assert ids(ref="refs/tags/v1") == ["2"]
    assert ids(state="live") == ["4"]
    assert ids(repo="none") == []


@given(st.dictionaries(st.sampled_from(["repo", "ref", "state", "limit", "after"]), HOSTILE | st.text(max_size=10)))
def test_a_query_is_understood_or_refused_with_a_sentence(parameters: dict[str, str]) -> None:
    try:
        jobs_page = page([job(1), job(2)], Query.parse(parameters))
    except QueryError as error:
        assert 10 < len(str(error)) < 300
    else:
        assert len(jobs_page.jobs) <= 2


def test_links_lead_to_the_root_from_any_depth() -> None:
    assert [root(path) for path in ("/", "/repos", "/jobs/x", "/api/jobs/x")] == ["./", "./", "../", "../../"]
