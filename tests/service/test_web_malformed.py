"""What is no HTTP is answered, and fills no log: anybody who reaches the pages can send it without end."""

import pytest
from servers import Redis
from webserver import running

CLOSING = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
    b"GET\r\n\r\n",
    b"GET / HTTP/9.x\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"x" * 10_000 + b"\r\n\r\n",
    b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    CLOSING + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz",
    CLOSING + b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n",
    CLOSING + b"Transfer-Encoding: chunked\r\n\r\n3\r\nxyzzz\r\n",
]


@pytest.mark.parametrize("count", [1, 5])
def test_nothing_of_it_is_logged(redis: Redis, tmp_path_factory: pytest.TempPathFactory, count: int) -> None:
    """Also behind a request of the same connection that was well."""
    good = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running(tmp_path_factory.mktemp("web"), redis) as web:
        for request in MALFORMED:
            answer = web.send(good * (count - 1) + request)
            assert answer.startswith(b"HTTP/1."), (request, answer)
        assert web.get("/healthz").status == 200
        web.terminate()
        status, stderr = web.wait()
    assert (status, stderr) == (0, "")
