"""Pages are served to who asks for this server by a name of its own, so that no other site's page can read them."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from servers import LIMIT, Redis
from webserver import WebServer, running

ROUTES = ("/", "/events", "/jobs/a", "/repos", "/api/jobs", "/metrics", "/healthz", "/static/x", "/nothing")
EXAMPLES = int(os.environ.get("TINYCI_SOAK", "100"))
OWN = ["localhost", "localhost:8190", "LOCALHOST", "127.0.0.1", "127.0.0.1:8190", "192.0.2.1", "[::1]", "[::1]:8190"]
OWN += ["ci.example.org", "CI.example.org:443", "ci.example.org."]
OTHER = ["evil.example", "evil.example:8190", "localhost.evil.example", "127.0.0.1.evil.example", "ci.example.org.evil"]
OTHER += [
    "xci.example.org",
    "",
    ":8190",
    "::1",
    "[::1",
    "[evil]",
    "127.0.0.1@evil",
    "localhost/",
    "0x7f.1",
    "localhost,x",
]


@pytest.fixture(scope="module")
def named_web(session_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    session_redis.data.flushall()  # whatever the test before has left there
    with running(tmp_path_factory.mktemp("named"), session_redis, url="https://ci.example.org/builds/") as web:
        web.get_until("/healthz", 200)
        yield web


@pytest.mark.parametrize("host", OWN)
def test_the_own_names_and_addresses_are_served(named_web: WebServer, host: str) -> None:
    for route in ("/", "/api/jobs", "/metrics", "/healthz"):
        assert named_web.get(route, Host=host).status == 200


@pytest.mark.parametrize("host", OTHER)
def test_another_name_is_refused_whatever_is_asked_for(named_web: WebServer, host: str) -> None:
    for route in ROUTES:
        answer = named_web.get(route, Host=host)
        assert answer.status == 421, route
        assert "not served under this name: use an IP address or localhost" in answer.text


def test_without_url_a_name_is_refused_and_a_tunnel_works(web: WebServer) -> None:
    assert web.get("/", Host="ci.example.org").status == 421
    assert web.get("/", Host="localhost:8190").status == 200


@pytest.mark.parametrize("url", ["http://[::1]/", "http://[::ffff:10.0.0.1]:65535/ci/", "https://bücher.example/"])
def test_an_odd_url_keeps_nobody_from_the_pages(redis: Redis, tmp_path: Path, url: str) -> None:
    with running(tmp_path, redis, url=url) as web:
        assert web.get("/healthz").status == 200
        assert web.get("/healthz", Host="evil.example").status == 421
        assert web.get("/healthz", Host="xn--bcher-kva.example").status == (200 if "bücher" in url else 421)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", b"421"),
    ],
)
def test_only_http_1_0_may_do_without_a_host(named_web: WebServer, head: bytes, status: bytes) -> None:
    assert named_web.send(head).split(b" ")[1] == status


def test_two_hosts_are_none(named_web: WebServer) -> None:
    head = b"GET / HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert named_web.send(head).split(b" ")[1] in (b"400", b"421")


def test_over_a_unix_socket_the_name_is_the_proxys(redis: Redis, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with running(tmp_path, redis, "--listen", str(path)), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        end = time.monotonic() + LIMIT
        while connection.connect_ex(str(path)):
            assert time.monotonic() < end
        connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: other.example\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.0 200 OK")


BYTES = st.binary(max_size=40) | st.text("localhost127.0.0.1:[]@ \t", max_size=30).map(str.encode)


@settings(max_examples=EXAMPLES, deadline=None)
@given(BYTES.filter(lambda host: not {10, 13} & set(host)))
@example(b"\xff")
@example(b"[" + b"1:" * 30 + b"]")
@example(b"a" * 4000)
def test_no_host_is_answered_with_a_defect(named_web: WebServer, host: bytes) -> None:
    head = b"GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n"
    assert named_web.send(head).split(b" ")[1] in (b"200", b"400", b"421")
