"""Logging to the journal, with fields of our own. Source: systemd.journal-fields(7)."""

import logging

from systemd import journal

from tinyci.model.text import utf8


class JournalHandler(journal.JournalHandler):  # type: ignore[misc]
    """Sends the message and our own fields, and not, as the library's does, every attribute of the record: log
    arguments would reach the journal a second time, in clear, beside the message that was written with care."""

    def __init__(self, identifier: str) -> None:
        super().__init__()
        self._identifier = identifier

    def emit(self, record: logging.LogRecord) -> None:
        texts = {key: value for key, value in record.__dict__.items() if key.startswith(("TINYCI_", "MESSAGE_ID"))}
        if record.exc_info:
            texts["EXCEPTION_TEXT"] = logging.Formatter().formatException(record.exc_info)
        try:
            journal.send(
                utf8(self.format(record)),
                PRIORITY=str(self.map_priority(record.levelno)),
                SYSLOG_IDENTIFIER=self._identifier,
                LOGGER=record.name,
                CODE_FILE=record.pathname,
                CODE_LINE=record.lineno,
                CODE_FUNC=record.funcName,
                **{key: utf8(text) for key, text in texts.items()},
            )
        except OSError:
            self.handleError(record)


def log_to_journal(identifier: str = "tinyci", level: int = logging.INFO) -> None:
    """Send all logging to the journal, under that SYSLOG_IDENTIFIER."""
    handler = JournalHandler(identifier)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def fields(job: str = "", repo: str = "", unit: str = "", state: str = "", message_id: str = "") -> dict[str, str]:
    """Journal fields of a log record, to be given as `extra=fields(job=…)`; empty ones are left out."""
    texts = {
        "TINYCI_JOB": job,
        "TINYCI_REPO": repo,
        "TINYCI_UNIT": unit,
        "TINYCI_STATE": state,
        "MESSAGE_ID": message_id,
    }
    return {key: text for key, text in texts.items() if text}
