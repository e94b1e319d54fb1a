"""tinyci-web over HTTP, with a real Redis and the user of tinyci-web there."""

import json
import os
import re
import socket
import time
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from servers import LIMIT, Redis
from webserver import JobWriter, WebServer, running

NOW = time.time()
FINAL_FIELDS = {"state": "succeeded", "success": "true", "started": "2026-01-01T00:00:00.000000Z"}
FINAL_FIELDS |= {"finished": "2026-01-01T00:01:30.000000Z", "build_duration": "80.5", "image": "f" * 64}


def new_id() -> str:
    return str(uuid.uuid4())


def links(text: str) -> list[str]:
    return re.findall(r'(?:href|src|action)="([^"]*)"', text)


def test_without_a_job_the_pages_say_so(web: WebServer) -> None:
    for path in ("/", "/repos"):
        answer = web.get(path)
        assert answer.status == 200
        assert "No job yet" in answer.text
    assert web.get("/api/jobs").json == {"jobs": [], "total": 0, "next": None}


def test_a_job_is_in_the_list_with_what_people_look_for(web: WebServer, jobs: JobWriter) -> None:
    job_id = jobs.add(new_id(), NOW, pusher="ana", **FINAL_FIELDS)
    text = web.get("/").text
    for part in (
        f'href="./jobs/{job_id}"',
        'data-state="succeeded"',
        'href="./repos/web"',
        "ana",
        "main",
        "1 min 30 s",
    ):
        assert part in text
    assert '<th role="columnheader" scope="col">State</th>' in text


def test_a_jobs_page_has_its_facts_stages_and_output(web: WebServer, jobs: JobWriter) -> None:
    job_id = jobs.add(new_id(), NOW, reason="all is well", **FINAL_FIELDS)
    jobs.log(job_id, "one", "\x1b[32mtwo\x1b[0m", "<b>three</b>")
    text = web.get(f"/jobs/{job_id}").text
    assert f"<title>web succeeded · {job_id[:8]} · tinyci</title>" in text
    for part in (
        "all is well",
        "a" * 40,
        "refs/heads/main",
        'data-stage="build" class="done"',
        "1 min 20 s",
        "f" * 64,
    ):
        assert part in text
    assert '<li id="L2" value="2"><span class="f2">two</span></li>' in text
    assert "&lt;b&gt;three&lt;/b&gt;" in text
    assert 'href="../repos/web"' in text


def test_before_the_first_line_there_is_none(web: WebServer, jobs: JobWriter) -> None:
    job_id = jobs.add(new_id(), NOW, **FINAL_FIELDS)
    jobs.log(job_id, "one", "two")
    for number in (0, 1):
        answer = web.get(f"/jobs/{job_id}?before={number}")
        assert answer.status == 200
        assert "The end" in answer.text
        assert "<li id=" not in answer.text


def test_the_beginning_of_an_id_leads_to_the_job(web: WebServer, jobs: JobWriter) -> None:
    job_id = jobs.add("aaaa1111-cca8-41ec-8c59-67453021b8a9", NOW)
    jobs.add("aaaa2222-cca8-41ec-8c59-67453021b8a9", NOW)
    answer = web.get("/jobs/aaaa1?before=3")
    assert (answer.status, answer.headers["location"]) == (302, f"{job_id}?before=3")
    assert web.get("/api/jobs/aaaa1").json["id"] == job_id
    answer = web.get("/jobs/aaaa")
    assert (answer.status, "2 jobs begin with aaaa" in answer.text) == (404, True)


def test_a_job_that_a_script_made_has_a_page_before_it_is_indexed(web: WebServer, redis: Redis) -> None:
    job_id = new_id()
    redis.data.hset(f"tinyci:job:{job_id}", mapping={"repo": "web", "ref": "refs/heads/main", "revision": "b" * 40})
    text = web.get(f"/jobs/{job_id}").text
    assert 'data-state="queued"' in text


def test_a_push_that_the_daemon_has_not_taken_yet_is_shown(web: WebServer, jobs: JobWriter, redis: Redis) -> None:
    older, job_id = jobs.add(new_id(), NOW - 100, **FINAL_FIELDS), new_id()
    fields = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "pusher": "lea", "state": "succeeded"}
    redis.data.hset(f"tinyci:new:{job_id}", mapping=fields)
    redis.data.lpush("tinyci:queue", job_id, "x")
    assert [(job["id"], job["state"]) for job in web.get("/api/jobs").json["jobs"]] == [
        (job_id, "queued"),
        (older, "succeeded"),
    ]
    assert "lea" in web.get(f"/jobs/{job_id}").text


def test_of_a_long_output_the_end_is_shown_and_the_rest_is_a_link_away(web: WebServer, jobs: JobWriter) -> None:
    job_id = jobs.add(new_id(), NOW, **FINAL_FIELDS)
    jobs.log(job_id, *(f"line {number}" for number in range(1, 5001)))
    text = web.get(f"/jobs/{job_id}").text
    assert text.count("<li id=") == 2000
    assert "line 3001<" in text
    assert "line 5000<" in text
    assert f'href="{job_id}?before=3001"' in text
    earlier = web.get(f"/jobs/{job_id}?before=3001").text
    assert "line 1001<" in earlier
    assert "line 3000<" in earlier
    assert "line 3001<" not in earlier
    first = web.get(f"/jobs/{job_id}?before=1001").text
    assert "line 1<" in first
    assert "Earlier lines" not in first
    assert web.get(f"/jobs/{job_id}/output.txt").text == "".join(f"line {number}\n" for number in range(1, 5001))


def test_a_job_whose_log_is_gone_shows_the_end_of_its_output(web: WebServer, jobs: JobWriter) -> None:
    job_id = jobs.add(new_id(), NOW, output="kept\nlast\n", unit_output="it fell\n", **FINAL_FIELDS)
    text = web.get(f"/jobs/{job_id}").text
    for part in ("Of its log nothing is kept", ">last</li>", "What the unit said last", "it fell"):
        assert part in text
    assert web.get(f"/jobs/{job_id}/output.txt").text == "kept\nlast\n"


def test_lists_are_filtered_and_paged(web: WebServer, jobs: JobWriter) -> None:
    for number in range(7):
        jobs.add(new_id(), NOW + number, repo="api", ref=f"refs/heads/b{number % 2}", **FINAL_FIELDS)
    jobs.add(new_id(), NOW, repo="web", state="failed")
    times = []
    path = "/api/jobs?repo=api&limit=3"
    while True:
        answer = web.get(path).json
        assert answer["total"] == 7
        times += [job["created"] for job in answer["jobs"]]
        if not answer["next"]:
            break
        path = f"/api/jobs?repo=api&limit=3&after={answer['next']}"
    assert len(times) == 7
    assert times == sorted(times, reverse=True)
    assert web.get("/api/jobs?ref=b0").json["total"] == 4
    assert web.get("/api/jobs?state=unsuccessful").json["total"] == 1
    text = web.get("/?repo=api&limit=3").text
    assert "1 to 3 of 7 that match" in text
    (older,) = (link for link in links(text) if "after=" in link)
    assert older.startswith("./?repo=api&amp;limit=3&amp;after=")
    text = web.get(older.removeprefix(".").replace("&amp;", "&")).text
    assert "4 to 6 of 7 that match" in text
    assert 'href="./?repo=api&amp;limit=3"' in text, "back to the first page"


def test_a_job_that_ends_is_shown_as_it_ended(web: WebServer, jobs: JobWriter) -> None:
    """Only ended jobs are read once; all others are read again."""
    job_id = jobs.add(new_id(), NOW, state="building")
    for state in ("building", "verifying", "failed"):
        jobs.change(job_id, state=state)
        (job,) = web.get("/api/jobs").json["jobs"]
        assert job["state"] == state


def test_a_job_that_is_forgotten_is_not_listed(web: WebServer, jobs: JobWriter, redis: Redis) -> None:
    first, second = (jobs.add(new_id(), NOW + number, **FINAL_FIELDS) for number in range(2))
    assert web.get("/api/jobs").json["total"] == 2
    redis.data.delete(f"tinyci:job:{first}")
    redis.data.zrem("tinyci:jobs", first)
    assert [job["id"] for job in web.get("/api/jobs").json["jobs"]] == [second]
    answer = web.get(f"/jobs/{first}")
    assert (answer.status, "There is no job" in answer.text) == (404, True)


def test_a_repos_page_says_what_runs_goes_on_and_how_long_it_takes(web: WebServer, jobs: JobWriter) -> None:
    good = jobs.add(new_id(), NOW, **FINAL_FIELDS)
    jobs.add(new_id(), NOW + 1, **{**FINAL_FIELDS, "state": "rolled-back", "success": "false"}, restart_started="2026")
    live = jobs.add(new_id(), NOW + 2, state="building")
    text = web.get("/repos/web").text
    for part in ("Runs now", f'href="../jobs/{good}"', "f" * 64, "Goes on", f'href="../jobs/{live}"', "<rect"):
        assert part in text
    assert "1 min 30 s is the median of those that succeeded" in text
    status = web.get("/api/repos/web").json
    assert (status["runs"]["job"], status["runs"]["image"], status["doubt"]) == (good, "f" * 64, "")
    assert [job["id"] for job in status["live"]] == [live]
    assert [each["repo"] for each in web.get("/api/repos").json["repos"]] == ["web"]
    assert web.get("/repos/none").status == 404


def test_a_badge_is_asked_again_and_not_sent_again(web: WebServer, jobs: JobWriter) -> None:
    jobs.add(new_id(), NOW, **FINAL_FIELDS)
    jobs.add(new_id(), NOW + 1, ref="refs/heads/next", state="failed")
    badge = web.get("/repos/web/badge.svg?ref=refs/heads/main")
    assert badge.headers["content-type"] == "image/svg+xml; charset=utf-8"
    assert '<title id="t">web: succeeded</title>' in badge.text
    assert "web: failed" in web.get("/repos/web/badge.svg").text
    assert badge.headers["cache-control"] == "no-cache"
    again = web.get("/repos/web/badge.svg?ref=refs/heads/main", If_None_Match=badge.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    jobs.add(new_id(), NOW + 2, state="failed")
    assert web.get("/repos/web/badge.svg?ref=main", If_None_Match=badge.headers["etag"]).status == 200
    assert web.get("/repos/none/badge.svg").status == 404


def test_prometheus_reads_the_figures(web: WebServer, jobs: JobWriter, redis: Redis) -> None:
    jobs.add(new_id(), NOW, **FINAL_FIELDS)
    jobs.add(new_id(), NOW + 1, repo="api", ref='refs/heads/"\\\n', state="failed")
    redis.data.lpush("tinyci:queue", "x")
    answer = web.get("/metrics")
    figures = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert figures["tinyci_redis_up",] == 1
    assert figures["tinyci_queue_jobs",] == 1
    assert figures["tinyci_paused",] == 0
    assert figures["tinyci_jobs", "succeeded", "web"] == 1
    assert figures["tinyci_last_job_success", "refs/heads/main", "web"] == 1
    assert figures["tinyci_last_job_success", "api", 'refs/heads/"\\\\x0a'] == 0
    assert figures["tinyci_last_job_duration_seconds", "refs/heads/main", "web"] == 90
    assert figures["process_resident_memory_bytes",] > 1e6


# -- manners --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/healthz", "/api/jobs", "/metrics", "/events"])
def test_every_answer_has_strict_headers(web: WebServer, path: str) -> None:
    headers = web.get(path, method="HEAD").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for directive in ("base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"):
        assert directive in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "aiohttp" not in json.dumps(dict(headers)).lower()


def test_all_links_are_relative_and_lead_somewhere(web: WebServer, jobs: JobWriter) -> None:
    """A proxy may have the pages under any path."""
    job_id = jobs.add(new_id(), NOW, **FINAL_FIELDS)
    for path in ("/", "/repos", f"/jobs/{job_id}", "/repos/web", "/nothing/here"):
        answer = web.get(path)
        assert "style=" not in answer.text
        assert "<style" not in answer.text
        for link in links(answer.text):
            assert not link.startswith(("/", "http", "javascript")), link
            if not link.startswith("#"):
                target = os.path.normpath(os.path.join(os.path.dirname(path), link.replace("&amp;", "&")))
                assert web.get(target).status == 200, (path, link)


def test_static_files_are_kept_for_ever_under_a_name_of_their_content(web: WebServer) -> None:
    paths = [link.removeprefix(".") for link in links(web.get("/").text) if "static" in link]
    assert len(paths) == 3
    for path in paths:
        answer = web.get(path)
        assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert web.get("/static/../main.py").status == 404


@pytest.mark.parametrize("path", ["/", "/api/jobs", "/healthz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_is_allowed(web: WebServer, path: str, method: str) -> None:
    answer = web.get(path, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET,HEAD")
    assert "Pages can be read, and nothing else" in answer.text


def test_head_is_answered_as_get_without_the_page(web: WebServer, jobs: JobWriter) -> None:
    job_id = jobs.add(new_id(), NOW, **FINAL_FIELDS)
    for path in (
        "/",
        f"/jobs/{job_id}",
        "/api/jobs",
        f"/jobs/{job_id}/output.txt",
        f"/jobs/{job_id}/events",
        "/events",
    ):
        answer = web.get(path, method="HEAD")
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("/nothing", 404), ("/jobs/xyz", 404), (f"/jobs/{uuid.UUID(int=0)}", 404), ("/repos/a%2Fb", 404)),
        *(("/?state=odd", 400), ("/?limit=0", 400), ("/?limit=x", 400), ("/?after=x", 400), ("/jobs/a?before=x", 404)),
    ],
)
def test_what_cannot_be_shown_is_told_in_a_sentence(web: WebServer, path: str, status: int) -> None:
    answer = web.get(path)
    assert answer.status == status
    sentence = re.search(r'data-status="\d+">([^<]+)</p>', answer.text)
    assert sentence and sentence[1].endswith(".")
    answer = web.get(path, Accept="application/json")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json["error"].endswith(".")


# -- hostile data ---------------------------------------------------------------------------------------------------


def test_a_hash_that_is_none_breaks_no_page(web: WebServer, jobs: JobWriter, redis: Redis) -> None:
    other, empty, good = new_id(), new_id(), jobs.add(new_id(), NOW, **FINAL_FIELDS)
    redis.data.set(f"tinyci:job:{other}", "a string")
    redis.data.set(f"tinyci:log:{good}", "a string")
    redis.data.zadd("tinyci:jobs", {other: NOW, empty: NOW, "<script>": NOW, "x" * 5000: NOW})
    answer = web.get("/")
    assert (answer.status, "1 to 5 of 5" in answer.text) == (200, True)
    assert "<script>" not in answer.text.replace("<script src=", "")
    for path in ("/repos", "/api/jobs", "/metrics", f"/jobs/{good}"):
        assert web.get(path).status == 200
    for job_id in (other, empty):
        assert web.get(f"/jobs/{job_id}").status == 404


def test_bytes_that_are_no_text_are_shown_and_given_back(web: WebServer, jobs: JobWriter) -> None:
    job_id = jobs.add(new_id(), NOW, pusher="\udcff", **FINAL_FIELDS)
    jobs.log(job_id, "caf\udce9")
    assert "caf\\xe9" in web.get(f"/jobs/{job_id}").text
    assert web.get(f"/jobs/{job_id}/output.txt").body == b"caf\xe9\n"
    assert web.get(f"/api/jobs/{job_id}/output").json["lines"] == [{"number": 1, "text": "caf\\udce9"}]


def test_lines_and_fields_of_many_megabytes_leave_a_page_that_can_be_used(
    web: WebServer, jobs: JobWriter, redis: Redis
) -> None:
    job_id = jobs.add(new_id(), NOW, reason="r" * 3_000_000, pusher="p" * 3_000_000)
    jobs.log(job_id, *("x" * 1_000_000 for _ in range(30)))
    for path in (f"/jobs/{job_id}", "/", "/repos/web", "/api/jobs"):
        answer = web.get(path)
        assert answer.status == 200
        assert len(answer.body) < 1_000_000
    assert "996000 more characters" in web.get(f"/jobs/{job_id}").text
    assert len(web.get(f"/jobs/{job_id}/output.txt").body) == 30 * 1_000_001
    print(f"resident after 30 lines of 1 MB: {web.memory():.0f} MiB")
    assert web.memory() < 200


NAMES = st.sampled_from(["repo", "ref", "state", "limit", "after", "before", "lines", "x"])
VALUES = st.text(max_size=10) | st.sampled_from(
    ["", "web", "main", "failed", "0", "-1", "1", "9" * 30, "%00", "%ff", "<script>", "1_x", "nan_x"]
)
PIECES = st.text(max_size=8) | st.sampled_from(
    [
        *("jobs", "repos", "api", "events", "output", "output.txt", "badge.svg", "static", "web", "JOB", "JOB-"),
        *("metrics", "healthz", "..", ".", "%2e%2e", "%2F", "%00", "%", "", "<b>"),
    ]
)
FIELDS = st.sampled_from(["repo", "ref", "state", "created", "started", "finished", "success", "attempt", "output"])
TEXTS = st.sampled_from(["web", "succeeded", "<b>", "\udcff", "nan", "1e999", "2026-01-01T00:00:00.000000Z", "\x00"])
TEXTS |= st.text(max_size=10)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(PIECES, max_size=4),
    query=st.lists(st.tuples(NAMES, VALUES), max_size=3),
    fields=st.dictionaries(FIELDS, TEXTS, max_size=6),
)
def test_no_request_and_no_hash_is_answered_with_a_defect(
    web: WebServer, redis: Redis, pieces: list[str], query: list[tuple[str, str]], fields: dict[str, str]
) -> None:
    job_id = new_id()
    if fields:
        redis.data.hset(f"tinyci:job:{job_id}", mapping=fields)
    redis.data.zadd("tinyci:jobs", {job_id: NOW})
    names = {"JOB": job_id, "JOB-": job_id[:6]}
    path = "/" + "/".join(_quote(names.get(piece, piece)) for piece in pieces)
    path += "?" + "&".join(f"{name}={_quote(value)}" for name, value in query)
    method = "HEAD" if "events" in pieces else "GET"  # else it goes on
    for url in (path, "/", "/repos", "/api/jobs", f"/jobs/{job_id}", "/metrics"):
        answer = web.get(url, method=method)
        assert answer.status in (200, 302, 304, 400, 404), (url, answer.status, answer.text)


def _quote(text: str) -> str:
    """Quote what http.client refuses in a URL: bytes beyond ASCII, and blanks."""
    plain = {chr(code) for code in range(0x21, 0x7F)} - set("?#")
    return "".join(char if char in plain else quote(char, errors="surrogatepass") for char in text)


def test_nothing_is_ever_written(web: WebServer, jobs: JobWriter, redis: Redis) -> None:
    job_id = jobs.add(new_id(), NOW, **FINAL_FIELDS)
    jobs.log(job_id, "line")
    redis.data.config_resetstat()
    for path in ("/", "/repos", "/repos/web", f"/jobs/{job_id}", "/api/jobs", "/metrics", f"/jobs/{job_id}/output.txt"):
        assert web.get(path).status == 200
    commands = {name.removeprefix("cmdstat_") for name in redis.data.info("commandstats")}
    assert commands - {"info", "keys", "config|resetstat", "auth", "hello", "client|setinfo", "select"} <= {
        *("zrevrange", "zcard", "hmget", "memory|usage", "xrevrange", "xrange", "llen", "exists", "ping", "hstrlen"),
    }


def test_it_can_be_run_by_hand(redis: Redis, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with running(tmp_path, redis, "--listen", str(path)) as web:
        end = time.monotonic() + LIMIT
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT)
            while connection.connect_ex(str(path)):
                assert time.monotonic() < end
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.0 200 OK")
        web.terminate()
        assert web.wait() == (0, "")


def test_without_a_place_to_listen_it_says_so(redis: Redis, tmp_path: Path) -> None:
    with running(tmp_path, redis, "--listen", "nowhere") as web:
        status, stderr = web.wait()
    assert status == 1
    assert stderr == "tinyci-web: 'nowhere' is no place to listen at: expected HOST:PORT or the path of a socket\n"
