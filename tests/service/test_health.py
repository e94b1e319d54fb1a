"""The health URL is well when it answers 2xx itself, and whatever it does instead is one sentence."""

import socket
import threading
from collections.abc import Iterator

import pytest
from tinyci.stage.verify import url_problem


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that sends these bytes to its first client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
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
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "URL answers 302"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "URL answers 404"),
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


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert url_problem(f"http://127.0.0.1:{port}/") == f"http://127.0.0.1:{port}/ does not answer: Connection refused"
