"""Sending one message to one URL, through apprise, which knows some hundred services and which only this file imports.

Its calls block, and it takes much memory: the service runs this file as a process of its own (senderprocess.py). Its
log contains URLs and goes nowhere.
"""

import json
import logging
import re
import sys
import threading
import warnings
from typing import Any
from urllib.parse import urlencode, urlsplit

import apprise

from tinyci import __version__
from tinyci.notify.message import Message, NotSentError
from tinyci.notify.plaintext import without_mentions
from tinyci.notify.recipients import Recipients, UrlError

_ASSET = apprise.AppriseAsset(
    app_id="tinyci",
    app_desc=f"tinyci {__version__}",
    app_url="",
    # No icon: readers of a message would fetch it from a third party's server.
    image_url_mask="",
    image_url_logo="",
)
# The HTTP status; ntfy's own error number begins with it.
_STATUS = re.compile(r"error\s*=\s*([1-5]\d\d)(?:\d\d)?\b")
_CLAUSES = {
    "refused": "the connection is refused",
    "timed out": "it does not answer in time",
    "name resolution": "its name cannot be resolved",
    "name or service not known": "its name cannot be resolved",
    "certificate": "its certificate is not trusted",
    "unreachable": "it cannot be reached",
    "reset by peer": "it breaks the connection off",
    "closed connection": "it breaks the connection off",
}


class _FailureReader(logging.Handler):
    """Finds in Apprise's log why it failed: it reports that nowhere else. Each thread sees its own failures."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._of_thread = threading.local()

    @property
    def clause(self) -> str:
        """The reason of the last failure; empty if it is not known."""
        return str(getattr(self._of_thread, "clause", ""))

    @clause.setter
    def clause(self, clause: str) -> None:
        self._of_thread.clause = clause

    def emit(self, record: logging.LogRecord) -> None:
        # The text may contain secrets: nothing but our own words is taken from it.
        text = record.getMessage()[:10_000]
        if match := _STATUS.search(text):
            self.clause = f"it answers with status {match[1]}"
        for word, clause in _CLAUSES.items():
            if word in text.lower() and "exception" in text.lower():
                self.clause = clause


_failure_reader = _FailureReader()
_output_lock = threading.Lock()


def main() -> None:
    """Answer each line of standard input: a number with {"recipients": TEXT}, or with {"url": URL, "message": FIELDS}.

    Each message has a thread of its own: none waits for a service that does not answer. End with standard input.
    """
    silence()
    for line in sys.stdin:
        request = json.loads(line)
        if "recipients" in request:
            _print(request, _recipients(request["recipients"]))
        else:
            threading.Thread(target=_send_and_print, args=(request,), daemon=True).start()


def _recipients(text: str) -> dict[str, object]:
    recipients = Recipients.parse(text, public_host)
    valid = [(each.name, each.key, each.url, sorted(each.repos)) for each in recipients.valid]
    return {"valid": valid, "errors": recipients.errors}


def _send_and_print(request: dict[str, Any]) -> None:
    error = ""
    try:
        send(request["url"], Message(*request["message"]))
    except NotSentError as not_sent:
        error = str(not_sent)
    _print(request, {"error": error})


def _print(request: dict[str, Any], answer: dict[str, object]) -> None:
    with _output_lock:
        print(json.dumps({"number": request["number"], **answer}), flush=True)


def silence() -> None:
    """Keep the logs of the libraries out of ours."""
    handlers = {"apprise": _failure_reader, "urllib3": logging.NullHandler(), "requests": logging.NullHandler()}
    for name, handler in handlers.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    warnings.simplefilter("ignore")  # of urllib3, about certificates


def public_host(url: str) -> str:
    """Return the host of a URL; empty if a token or a topic stands in its place. Raises UrlError if Apprise cannot send
    to the URL."""
    service = _service(url)
    if _is_ntfy(service):
        if not getattr(service, "topics", ()):
            raise UrlError("has no topic: expected ntfy://HOST/TOPIC")
        is_host = getattr(service, "mode", "") == "private"
    else:
        templates = getattr(service, "templates", ())
        is_host = bool(templates) and all(re.search(r"://(\{\w+\}(:\{\w+\})?@)?\{host\}", each) for each in templates)
    return str(getattr(service, "host", "") or "") if is_host else ""


def send(url: str, message: Message) -> None:
    """Send the message, and return when the service has taken it. Raises NotSentError."""
    _failure_reader.clause = ""
    try:
        if not _send(url, message):
            raise NotSentError(_failure_reader.clause or "it does not take the message")
    except UrlError as error:
        raise NotSentError(str(error)) from None
    except NotSentError:
        raise
    except Exception as error:  # of any of some hundred plugins; its text may hold the URL
        raise NotSentError(f"Apprise fails with {type(error).__name__}") from None


def _send(url: str, message: Message) -> bool:
    service = _service(url)
    body = message.body
    if _is_ntfy(service):
        service = _service(
            _with_parameters(url, {"priority": message.priority, "tags": message.tag, "click": message.click})
        )
        title = message.title
    else:
        title, body = without_mentions(message.title), without_mentions(body)
        if message.click:
            body = f"{body}\n\n{message.click}"
    # Whatever the URL asks for: output of a build is no markup.
    service.notify_format = apprise.NotifyFormat.TEXT
    kind = {"failure": apprise.NotifyType.FAILURE, "success": apprise.NotifyType.SUCCESS}.get(message.kind)
    # Not through Apprise.notify(): that converts between formats, and older versions make the call in another thread,
    # whose failures would not be seen here.
    return bool(service.notify(body=body, title=title, notify_type=kind or apprise.NotifyType.INFO))


def _service(url: str) -> "apprise.NotifyBase":
    try:
        service = apprise.Apprise.instantiate(url, asset=_ASSET)
    except Exception as error:  # it suppresses those that it expects
        raise UrlError(f"is not a URL that Apprise can use ({type(error).__name__})") from None
    if service is None:
        raise UrlError("is not a URL that Apprise can use: see https://github.com/caronc/apprise/wiki for its parts")
    return service


def _is_ntfy(service: object) -> bool:
    return type(service).__name__ == "NotifyNtfy"


def _with_parameters(url: str, parameters: dict[str, str]) -> str:
    """Return the URL with these parameters added, except empty ones and those that it has already."""
    names = {pair.partition("=")[0].lower() for pair in urlsplit(url).query.split("&")}
    query = urlencode({name: text for name, text in parameters.items() if text and name not in names})
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


if __name__ == "__main__":
    main()
