"""Whatever is asked, and whatever Redis holds, no answer is a defect. `TINYCI_SOAK=N` tries N cases of each kind."""

import os
import signal
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import Redis
from tinyci.model.fields import FIELDS
from tinyci.model.state import State
from webserver import WebServer

CASES = settings(
    max_examples=int(os.environ.get("TINYCI_SOAK", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JOB = "0b2e4f6c-cca8-41ec-8c59-67453021b8a9"

ODD = st.sampled_from(
    [
        *(b"", b"0", b"-1", b"1", b"nan", b"inf", b"1e999", b"9" * 400, b"\xff", b"\xed\xa0\x80", b"\x00", b"\xd9\xa1"),
        *(b"<script>", b"../..", b"%00", b"%ff", b"true", b"web", b"refs/heads/main", b"2026-01-01T00:00:00.000000Z"),
        *(b"9999-12-31T23:59:59.999999Z", b"0001-01-01T00:00:00Z", b"\x1b[31mred\r", b"\x1b]8;;x", b"a\nb\x85c\x1cd"),
    ]
)
ODD |= st.sampled_from([str(state).encode() for state in State])
CONTENT = ODD | st.binary(max_size=30)
NAMES = st.sampled_from([field.name.encode() for field in FIELDS]) | st.binary(min_size=1, max_size=8)
HASHES = st.dictionaries(NAMES, CONTENT, max_size=12)
SCORES = st.floats(allow_nan=False) | st.integers(0, 2_000_000_000).map(float)
MEMBERS = st.just(JOB.encode()) | CONTENT | st.uuids().map(lambda job_id: str(job_id).encode())
ENTRIES = st.lists(
    st.dictionaries(st.sampled_from([b"line", b"x"]) | CONTENT, CONTENT, min_size=1, max_size=2), max_size=4
)

PIECES = st.sampled_from(
    [
        *(b"jobs", b"repos", b"api", b"events", b"output", b"output.txt", b"badge.svg", b"static", b"metrics"),
        *(b"healthz", b"web", JOB.encode(), JOB[:5].encode(), b"..", b".", b"%2e%2e", b"%2F", b"%", b"%00", b"%ff"),
    ]
)
URL_BYTES = st.binary(max_size=12).map(lambda text: bytes(code for code in text if code not in b"\r\n \t\x00#"))
QUERIES = st.lists(
    st.tuples(
        st.sampled_from([b"repo", b"ref", b"state", b"limit", b"after", b"before"]) | URL_BYTES,
        URL_BYTES | st.sampled_from([b"9" * 500, b"-1", b"1_x", b"nan_x", b"inf_", b"live", b"%d9%a1", b"%ed%a0%80"]),
    ),
    max_size=4,
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(b"Accept", b"Accept-Encoding", b"If-None-Match", b"If-Modified-Since", b"Last-Event-ID", b"Range"),
                *(b"Cookie", b"Expect", b"Connection", b"Upgrade", b"Content-Type", b"X-Forwarded-For"),
            ]
        ),
        st.binary(max_size=20).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
        | st.sampled_from(
            [b"application/json", b"*", b"bytes=0-", b"100-continue", b"websocket", b"\xd9\xa1", b"9" * 99]
        ),
    ),
    max_size=4,
)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"TRACE", b"X"])


@pytest.fixture(autouse=True)
def no_time_limit_for_a_soak(time_limit: None) -> None:
    if "TINYCI_SOAK" in os.environ:
        signal.setitimer(signal.ITIMER_REAL, 0)


def status(web: WebServer, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> int:
    """Send a request as it is, and return the status of the response."""
    lines = [method + b" " + url + b" HTTP/1.0", b"Host: localhost"]
    lines += [name + b": " + value for name, value in headers]
    response = web.send(b"\r\n".join(lines) + b"\r\n\r\n")
    final = response.rpartition(b"HTTP/1.1 100 Continue\r\n\r\n")[2] or response
    return int(final.split(b" ", 2)[1])


@CASES
@given(METHODS, st.lists(PIECES | URL_BYTES, max_size=5), QUERIES, HEADERS)
def test_no_request_is_answered_with_a_defect(
    web: WebServer,
    redis: Redis,
    method: bytes,
    pieces: list[bytes],
    query: list[tuple[bytes, bytes]],
    headers: list[tuple[bytes, bytes]],
) -> None:
    redis.data.hset(f"tinyci:job:{JOB}", mapping={"repo": "web", "state": "succeeded"})
    redis.data.zadd("tinyci:jobs", {JOB: 1})
    if b"events" in b"/".join(pieces) and method == b"GET":
        method = b"HEAD"  # else the list is followed for ever
    url = b"/" + b"/".join(pieces) + b"?" + b"&".join(name + b"=" + value for name, value in query)
    assert status(web, method, url, headers) in (200, 302, 304, 400, 404, 405, 417)


@CASES
@given(HASHES, st.lists(st.tuples(MEMBERS, SCORES), max_size=4), ENTRIES)
def test_nothing_that_redis_holds_is_a_defect(
    web: WebServer,
    redis: Redis,
    fields: dict[bytes, bytes],
    members: list[tuple[bytes, float]],
    entries: list[dict[bytes, bytes]],
) -> None:
    redis.data.flushall()
    job_id = str(uuid.uuid4())  # the server has the fields of another job in its memory
    if fields:
        redis.data.hset(f"tinyci:job:{job_id}", mapping=fields)  # type: ignore[arg-type]
    redis.data.zadd("tinyci:jobs", {job_id: 1, **dict(members)})
    for entry in entries:
        redis.data.xadd(f"tinyci:log:{job_id}", entry)  # type: ignore[arg-type]
    job = job_id.encode()
    paths = [b"/", b"/repos", b"/repos/web", b"/repos/web/badge.svg", b"/api/jobs", b"/api/repos", b"/api/repos/web"]
    paths += [b"/metrics", b"/jobs/" + job, b"/jobs/" + job + b"/output.txt", b"/api/jobs/" + job]
    paths += [b"/api/jobs/" + job + b"/output", b"/?state=live&limit=1"]
    for path in paths:
        assert status(web, b"GET", path) in (200, 404), path


@CASES
@given(st.sampled_from(["tinyci:jobs", "tinyci:queue", "tinyci:events", "JOB", "LOG"]), CONTENT)
def test_a_key_of_another_type_is_no_defect(web: WebServer, redis: Redis, key: str, content: bytes) -> None:
    redis.data.flushall()
    job_id = str(uuid.uuid4())
    redis.data.hset(f"tinyci:job:{job_id}", mapping={"repo": "web", "state": "succeeded"})
    redis.data.zadd("tinyci:jobs", {job_id: 1})
    redis.data.set({"JOB": f"tinyci:job:{job_id}", "LOG": f"tinyci:log:{job_id}"}.get(key, key), content)
    for path in ("/", "/repos", "/metrics", f"/jobs/{job_id}", f"/jobs/{job_id}/output.txt", f"/api/jobs/{job_id}"):
        assert status(web, b"GET", path.encode()) in (200, 404, 503), path
