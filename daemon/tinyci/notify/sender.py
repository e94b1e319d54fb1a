"""Sends one message to one URL: the only module that imports apprise, which knows some hundred services.

Its calls wait for the network; see delivery.py for the threads. What it logs holds URLs, and goes nowhere.
"""

import logging
import re
import threading
import warnings
from urllib.parse import urlencode, urlsplit

import apprise

from tinyci import __version__
from tinyci.notify.message import Message
from tinyci.notify.plain import unmentioning
from tinyci.notify.services import UrlError

_ASSET = apprise.AppriseAsset(
    app_id="tinyci",
    app_desc=f"tinyci {__version__}",
    app_url="",
    # No icon that whoever reads a message would fetch from somebody else's server.
    image_url_mask="",
    image_url_logo="",
)
# The status, and of ntfy its own number, which begins with it.
_STATUS = re.compile(r"error\s*=\s*([1-5]\d\d)(?:\d\d)?\b")
_TROUBLES = {
    "refused": "the connection is refused",
    "timed out": "it does not answer in time",
    "name resolution": "its name cannot be resolved",
    "name or service not known": "its name cannot be resolved",
    "certificate": "its certificate is not trusted",
    "unreachable": "it cannot be reached",
    "reset by peer": "it breaks the connection off",
    "closed connection": "it breaks the connection off",
}


class NotSentError(Exception):
    """Why a message was not taken, as far as is known; nothing of the URL is in the text."""


class _Heard(logging.Handler):
    """What Apprise logs, kept for the thread that it happens in: of a failure it tells nothing else."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._of_thread = threading.local()

    def begin(self) -> None:
        self._of_thread.why = ""

    def why(self) -> str:
        return str(getattr(self._of_thread, "why", ""))

    def emit(self, record: logging.LogRecord) -> None:
        # Of the text, which may hold anything, only what we have words for ourselves.
        text = record.getMessage()[:10_000]
        if found := _STATUS.search(text):
            self._of_thread.why = f"it answers with status {found[1]}"
        for word, trouble in _TROUBLES.items():
            if word in text.lower() and "exception" in text.lower():
                self._of_thread.why = trouble


_heard = _Heard()


def silence() -> None:
    """Keep what the libraries log out of our own log."""
    for name, handler in (("apprise", _heard), ("urllib3", logging.NullHandler()), ("requests", logging.NullHandler())):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    warnings.simplefilter("ignore")  # of urllib3, about certificates


def host_of(url: str) -> str:
    """The host of a URL, where it is one and not a token or a topic in its place. Raises UrlError when Apprise knows no
    way to send to it."""
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
    """Return when the service has taken it. Raises NotSent."""
    _heard.begin()
    try:
        if not _send(url, message):
            raise NotSentError(_heard.why() or "it does not take the message")
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
        service = _service(_with(url, {"priority": message.priority, "tags": message.tag, "click": message.click}))
        title = message.title
    else:
        title, body = unmentioning(message.title), unmentioning(body)
        if message.click:
            body = f"{body}\n\n{message.click}"
    # Whatever the URL asks for: what a build prints is no markup.
    service.notify_format = apprise.NotifyFormat.TEXT
    kind = {"failure": apprise.NotifyType.FAILURE, "success": apprise.NotifyType.SUCCESS}.get(message.kind)
    # Not through a list of services, as Apprise.notify() has it: that converts between formats, and older versions make
    # the call in another thread, where what they say of it would not be heard.
    return bool(service.notify(body=body, title=title, notify_type=kind or apprise.NotifyType.INFO))


def _service(url: str) -> "apprise.NotifyBase":
    try:
        made = apprise.Apprise.instantiate(url, asset=_ASSET)
    except Exception as error:  # it suppresses those that it expects
        raise UrlError(f"is not a URL that Apprise can use ({type(error).__name__})") from None
    if made is None:
        raise UrlError("is not a URL that Apprise can use: see https://github.com/caronc/apprise/wiki for its parts")
    return made


def _is_ntfy(service: object) -> bool:
    return type(service).__name__ == "NotifyNtfy"


def _with(url: str, settings: dict[str, str]) -> str:
    """The URL with these, where it does not have its own."""
    given = {pair.partition("=")[0].lower() for pair in urlsplit(url).query.split("&")}
    more = urlencode({name: text for name, text in settings.items() if text and name not in given})
    return f"{url}{'&' if '?' in url else '?'}{more}" if more else url
