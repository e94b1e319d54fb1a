"""Messages as a web server gets them, and the secrets that no log and no error contains."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
from tinyci.notify import sender
from tinyci.notify.message import Message
from tinyci.notify.recipients import UrlError
from tinyci.notify.sender import NotSentError, public_host, send
from webhookserver import WebhookServer

SECRET = "tk_s3cretsecretsecretsecretsecret"
MESSAGE = Message(
    "web: failed \u2013 caf\u00e9",
    "<b>Failed</b>: *x* :smile: @everyone <!channel>\n\nlast line",
    "failure",
    "high",
    "rotating_light",
    "https://ci.example.org/jobs/1",
)


class OurLog(logging.Handler):
    """The records that reach the root, and so the journal; pytest's own handler gets more than that."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture(autouse=True)
def our_log() -> Iterator[list[str]]:
    sender.silence()
    root, handler = logging.getLogger(), OurLog()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.texts
    root.removeHandler(handler)
    root.setLevel(level)
    assert not [text for text in handler.texts if "s3cret" in text]


async def send_to_server(url: str, message: Message = MESSAGE) -> dict[str, object]:
    """Send a message to a URL with a place for the port. Return the server's record of it."""
    async with WebhookServer() as server:
        await asyncio.to_thread(send, url.format(server.port), message)
        (record,) = server.records
    return record


async def test_ntfy_gets_title_priority_tags_and_click() -> None:
    record = await send_to_server(f"ntfy://{SECRET}@127.0.0.1:{{}}/deploys")
    headers = record["headers"]
    assert isinstance(headers, dict)
    assert (record["topic"], record["title"], record["message"]) == ("deploys", MESSAGE.title, MESSAGE.body)
    assert headers["X-Priority"] == "high"
    assert headers["X-Tags"] == "rotating_light"
    assert headers["X-Click"] == MESSAGE.click
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert not {"X-Icon", "X-Markdown"} & set(headers), "nothing to fetch from others, and nothing to be obeyed"


async def test_what_the_url_itself_says_stays() -> None:
    record = await send_to_server("ntfy://127.0.0.1:{}/deploys?priority=min&tags=mine&click=http://h/&format=markdown")
    headers = record["headers"]
    assert isinstance(headers, dict)
    assert (headers["X-Priority"], headers["X-Tags"], headers["X-Click"]) == ("min", "mine", "http://h/")
    assert "X-Markdown" not in headers, "what a build prints is no markup, whoever asks for it"


async def test_other_services_get_the_link_in_the_text_and_mention_nobody() -> None:
    record = await send_to_server("json://127.0.0.1:{}/x")
    assert record["title"] == MESSAGE.title
    text = str(record["message"])
    assert text.endswith(f"\n\n{MESSAGE.click}")
    assert "@everyone" not in text
    assert "<!channel>" not in text
    assert text.replace("\u2060", "").startswith(MESSAGE.body)
    assert record["type"] == "failure"


async def test_no_header_can_be_slipped_in() -> None:
    record = await send_to_server(
        "ntfy://127.0.0.1:{}/deploys", MESSAGE._replace(click="http://h/\r\nX-Email: a@b", tag="a\nX-Call: 1")
    )
    assert not {"X-Email", "X-Call"} & set(record["headers"])  # type: ignore[call-overload]


@pytest.mark.parametrize("body", [MESSAGE.body * 60, "\u00e9" * 500, "\U0001f6a8" * 290])
async def test_the_longest_message_is_still_a_message_and_no_file(body: str) -> None:
    while len(json.dumps(body)) > 3500:
        body = body[:-10]
    record = await send_to_server("ntfy://127.0.0.1:{}/deploys", MESSAGE._replace(body=body))
    assert record["message"] == body


@pytest.mark.parametrize(
    ("status", "text", "clause"),
    [
        (500, "{}", "it answers with status 500"),
        (401, '{"code": 40101, "error": "unauthorized"}', "it answers with status 401"),
        (429, "tk_s3cret", "status 429"),
    ],
)
async def test_a_refusal_is_told_without_the_url(status: int, text: str, clause: str) -> None:
    async with WebhookServer() as server:
        server.text = text
        server.status = status
        with pytest.raises(NotSentError) as info:
            await asyncio.to_thread(send, f"ntfy://{SECRET}@127.0.0.1:{server.port}/s3cret", MESSAGE)
    assert clause in str(info.value)
    assert "s3cret" not in str(info.value)


async def test_nobody_there_is_told_without_the_url(capfd: pytest.CaptureFixture[str]) -> None:
    for url in (f"ntfy://{SECRET}@127.0.0.1:1/s3cret", f"json://u:{SECRET}@127.0.0.1:1/s3cret"):
        with pytest.raises(NotSentError) as info:
            await asyncio.to_thread(send, url, MESSAGE)
        assert str(info.value) == "the connection is refused"
    assert "s3cret" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ntfy://push.example.org/topic", "push.example.org"),
        ("ntfys://user:pass@push.example.org:8443/topic", "push.example.org"),
        ("ntfy://s3crettopic", ""),
        ("https://ntfy.sh/s3crettopic", ""),
        ("json://user:s3cret@h.example.org/path", "h.example.org"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", ""),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", ""),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/", ""),
    ],
)
def test_a_service_is_named_by_its_host_where_that_is_no_secret(url: str, host: str) -> None:
    assert public_host(url) == host


@pytest.mark.parametrize("url", ["nosuch://s3cret", "discord://s3cret", "tgram://s3cret", "ntfy://", "slack://s3cret"])
def test_a_wrong_url_is_refused_without_what_is_in_it(url: str) -> None:
    with pytest.raises(UrlError, match=r"is not a URL that Apprise can use|has no topic") as info:
        public_host(url)
    assert "s3cret" not in str(info.value)
