"""The health URL is well when it answers as the repo accepts, and whatever it does instead is one sentence."""

import socket
import threading
from collections.abc import Iterator

import pytest
from tinyci.model.repo import Repo
from tinyci.stage import healthurl
from tinyci.stage.status import StageError


def url_problem(url: str, *headers: str, accept: str = "2xx") -> str:
    repo = Repo.placeholder("web", "web")
    return healthurl.problem(repo._replace(health=url, health_headers=headers, health_status=(accept,)))


@pytest.fixture
def requests() -> list[bytes]:
    """The requests that the server has had."""
    return []


@pytest.fixture
def server(request: pytest.FixtureRequest, requests: list[bytes]) -> Iterator[str]:
    """The URL of a server that sends these bytes to its first client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(4096))
                connection.sendall(request.param)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/health"
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nwell", ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "URL answers 304"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "URL answers 404 (if the server answers to its own name alone: "),
        (b"HTTP/1.1 421 Misdirected\r\n\r\n", "URL answers 421 (if the server answers to its own name alone: "),
        (b"HTTP/1.1 500 Oh\r\n\r\n", "URL answers 500"),
        (b"SSH-2.0-OpenSSH\r\n", "URL does not answer: SSH-2.0-OpenSSH"),
        (b"", "URL does not answer: Remote end closed connection without response"),
        (b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000 + b"\r\n\r\n", "URL does not answer: got more than 65536 bytes"),
    ],
    indirect=["server"],
)
def test_only_2xx_is_well(server: str, problem: str) -> None:
    answer = url_problem(server)
    assert answer.startswith(problem.replace("URL", server)) if problem else answer == ""


REDIRECT = b"HTTP/1.1 301 Moved\r\nLocation: https://web.example.org/\x1b[1m\r\n\r\n"


@pytest.mark.parametrize("server", [REDIRECT], indirect=True)
def test_a_redirect_ends_the_wait_and_its_location_is_named(server: str) -> None:
    with pytest.raises(StageError) as info:
        url_problem(server)
    assert str(info.value) == (
        f"{server} answers 301 and leads to https://web.example.org/\\x1b[1m: ask for that page in 'health', send the "
        "header that it lacks (health_headers: Host, X-Forwarded-Proto), or accept the status (health_status)"
    )


@pytest.mark.parametrize("server", [REDIRECT], indirect=True)
@pytest.mark.parametrize("accept", ["301", "3xx"])
def test_a_redirect_that_the_repo_accepts_is_well(server: str, accept: str) -> None:
    assert url_problem(server, accept=accept) == ""


@pytest.mark.parametrize("server", [b"HTTP/1.1 200 OK\r\n\r\n"], indirect=True)
def test_a_good_status_that_the_repo_does_not_accept_is_none(server: str) -> None:
    assert url_problem(server, accept="401") == f"{server} answers 200"


@pytest.mark.parametrize("server", [b"HTTP/1.1 403 Forbidden\r\n\r\n"], indirect=True)
def test_headers_of_the_repo_are_sent(server: str, requests: list[bytes]) -> None:
    headers = ("Host: web.example.org", "x-forwarded-proto:https")
    assert url_problem(server, *headers) == f"{server} answers 403", "it has a Host, so that is not what it lacks"
    lines = requests[0].decode().lower().split("\r\n")
    assert [line for line in lines if line.startswith("host:")] == ["host: web.example.org"]
    assert "x-forwarded-proto: https" in lines


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert url_problem(f"http://127.0.0.1:{port}/") == f"http://127.0.0.1:{port}/ does not answer: Connection refused"
