"""Whatever the hash of a job holds, its pages are pages: no exception, and no markup that came from data."""

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
from tinyci.web.responses import json_of

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
KEPT = st.lists(st.tuples(IDS, st.none() | HASHES, st.floats(0, 2e9)), max_size=6)


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


def outline(template: str, **given: object) -> Outline:
    text = RENDERER.html(template, "/jobs/x", **given)
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
        said=[ansi.spans(line) for line in lines],
    )


def shelf(given: list[tuple[str, dict[str, str] | None, float]]) -> list[IndexedJob]:
    kept = [IndexedJob(JobView(job_id, fields, indexed), indexed, job_id) for job_id, fields, indexed in given]
    return sorted(kept, key=lambda each: (each.time, each.id), reverse=True)


ALLOWED = {"a", "abbr", "body", "button", "caption", "datalist", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2"}
ALLOWED |= {"head", "header", "html", "input", "label", "li", "link", "main", "meta", "nav", "noscript", "ol", "option"}
ALLOWED |= {"p", "rect", "script", "section", "select", "span", "svg", "table", "tbody", "td", "th", "thead", "time"}
ALLOWED |= {"title", "tr"}


def check(found: Outline, own: str = ID) -> None:
    assert {tag for tag, *_ in found.tags} <= ALLOWED
    attributes = {name for _, *names in found.tags for name in names}
    assert not {name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")}
    assert sum(tag == "script" for tag, *_ in found.tags) <= 1
    for link in found.links:
        assert link == "#main" or link.startswith(("../", "./", own)), link


@given(HASHES | st.none(), st.lists(HOSTILE | st.text(max_size=20), max_size=3))
@example({"state": "rolled-back", "restart_started": "2026-01-01T00:00:00.000000Z"}, [])
def test_any_hash_and_any_output_is_a_page(fields: dict[str, str] | None, lines: list[str]) -> None:
    found = job_page(fields, lines)
    check(found)
    text = "".join(found.words)
    for line in lines:
        assert ansi.text(line).strip() in text


@given(KEPT)
def test_any_list_of_jobs_is_a_page(given: list[tuple[str, dict[str, str] | None, float]]) -> None:
    kept = shelf(given)
    check(
        outline(
            "jobs.html",
            query=Query(),
            page=page(kept, Query()),
            repos=sorted({each.job.repo for each in kept}),
            groups=tuple(GROUPS),
            newer=None,
            older="?after=x",
        )
    )
    found = repo_statuses(kept)
    check(outline("repos.html", repos=list(found.values())))
    for name, one in found.items():
        check(
            outline(
                "repo.html",
                repo=one,
                query=Query(repo=name),
                page=page(kept, Query(repo=name)),
                trend=trend.trend(one.jobs),
                width=trend.WIDTH,
                height=trend.HEIGHT,
                newer=None,
                older=None,
            ),
            name,
        )


@given(KEPT)
def test_any_list_of_jobs_is_json_and_figures(given: list[tuple[str, dict[str, str] | None, float]]) -> None:
    kept = shelf(given)
    body = json_of([as_json(each.job) for each in kept]).body
    assert isinstance(body, bytes)
    assert len(json.loads(body)) == len(kept)
    metrics.Figures(kept, Counts(1, None, False), 1, 1).text().decode()


@given(HOSTILE | st.text(max_size=60), HOSTILE | st.text(max_size=20))
def test_a_badge_says_what_it_is_of_whatever_that_is(label: str, state: str) -> None:
    job = JobView(ID, {"repo": label, "state": state})
    picture = ElementTree.fromstring(badge.svg(job.repo, job.state, job.kind))
    title = picture.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text == f"{shown(job.repo)}: {shown(job.state)}".replace("\r\n", "\n")
    assert {each.tag.rpartition("}")[2] for each in picture.iter()} == {"svg", "title", "rect", "path", "g", "text"}


def shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


# -- what is told of a job ------------------------------------------------------------------------------------------


def stages_of(**fields: str) -> list[str]:
    return [f"{stage.name} {stage.status}" for stage in stages(JobView(ID, fields))]


AT = "2026-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("fields", "told"),
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
def test_stages_say_how_far_a_job_is(fields: dict[str, str], told: str) -> None:
    assert " ".join(each.partition(" ")[2] for each in stages_of(**fields)) == told


def test_stages_of_a_success_are_those_that_there_were() -> None:
    built = {"state": "succeeded", "created": AT, "started": AT, "build_duration": "12.34"}
    assert stages_of(**built) == ["queue done", "build done", "restart skipped", "verify skipped", "rollback skipped"]
    lengths = [stage.took for stage in stages(JobView(ID, built))]
    assert lengths == ["0.0 s", "12.3 s", "", "", ""]


def job(number: int, state: str = State.SUCCEEDED, repo: str = "web", **fields: str) -> IndexedJob:
    time = 1_000_000 + number
    stamp = f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000000Z"
    given = {"repo": repo, "ref": "refs/heads/main", "state": state, "started": stamp, "finished": stamp, **fields}
    return IndexedJob(JobView(f"{number:08}-cca8-41ec-8c59-67453021b8a9", given), time, f"{number:08}")


def runs(*kept: IndexedJob) -> tuple[str, bool]:
    one = repo_statuses(kept)["web"]
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
    kept = [job(3, "cancelled"), job(2, "failed", ref="refs/tags/v1"), job(1)]
    found = [newest(kept, "web", ref) for ref in ("", "main", "refs/tags/v1", "v2")]
    assert [each and each.short for each in found] == ["00000002", "00000001", "00000002", None]
    assert newest(kept, "api", "") is None


# -- lists ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(1, 10))
@settings(max_examples=50)
def test_pages_have_each_job_once_in_order(count: int, limit: int) -> None:
    kept = [job(number) for number in reversed(range(count))]
    seen: list[str] = []
    back: list[str | None] = []
    query = Query(limit=limit)
    while True:
        shown = page(kept, query)
        seen += [job.short for job in shown.jobs]
        back.append(shown.newer)
        if shown.older is None:
            break
        query = query.at(shown.older)
    assert seen == [each.job.short for each in kept]
    assert back[0] is None
    if len(back) > 2:
        assert page(kept, Query(limit=limit).at(back[2] or "")) == page(kept, Query(limit=limit).at(back[2] or ""))
        assert page(kept, Query(limit=limit, after=back[2] or "")).jobs == page(kept, _second(kept, limit)).jobs


def _second(kept: list[IndexedJob], limit: int) -> Query:
    return Query(limit=limit, after=page(kept, Query(limit=limit)).older or "")


def test_a_page_stays_where_it_is_while_jobs_come_and_go() -> None:
    kept = [job(number) for number in reversed(range(10))]
    query = Query(limit=3, after=page(kept, Query(limit=3)).older or "")
    shown = page(kept, query).jobs
    assert page([job(11), job(10), *kept], query).jobs == shown
    assert page([each for each in kept if each.id != "00000007"], query).jobs == shown, "the job before it is gone"


def test_filters_take_what_matches_all_of_them() -> None:
    kept = [job(4, "building"), job(3, "failed", repo="api"), job(2, "failed", ref="refs/tags/v1"), job(1, "failed")]

    def found(**given: str) -> list[str]:
        return [job.short[-1] for job in page(kept, Query.parse(given)).jobs]

    assert found(repo="web", state="failed") == ["2", "1"]
    assert found(ref="main", state="unsuccessful") == ["3", "1"]
    assert found(ref="refs/tags/v1") == ["2"]
    assert found(state="live") == ["4"]
    assert found(repo="none") == []


@given(st.dictionaries(st.sampled_from(["repo", "ref", "state", "limit", "after"]), HOSTILE | st.text(max_size=10)))
def test_a_query_is_understood_or_refused_with_a_sentence(given: dict[str, str]) -> None:
    try:
        shown = page([job(1), job(2)], Query.parse(given))
    except QueryError as error:
        assert 10 < len(str(error)) < 300
    else:
        assert len(shown.jobs) <= 2


def test_links_lead_to_the_root_from_any_depth() -> None:
    assert [root(path) for path in ("/", "/repos", "/jobs/x", "/api/jobs/x")] == ["./", "./", "../", "../../"]
