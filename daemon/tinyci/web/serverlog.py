"""The log of the library that serves HTTP, without what any client can put there."""

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

# Of the head of a request, and of its body, which nobody here reads.
_MALFORMED = (HttpProcessingError, RequestPayloadError)


def ignore_malformed_requests() -> None:
    """Log nothing of a request that is no HTTP: it has its answer, 400, and is no defect. The library would log it with
    a traceback, and a client can send any number of them."""
    logging.getLogger("aiohttp.server").addFilter(_is_no_clients_fault)


def _is_no_clients_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not isinstance(error, _MALFORMED)
