"""The command `tinyci-notify`: runs the service, or with `--test` sends one message to each URL."""

import asyncio
import logging
import os
import sys
from pathlib import Path

from tinyci import __version__, catalog
from tinyci.log import fields, log_to_journal
from tinyci.model.toml import ConfigError
from tinyci.notify.message import Message, NotSentError
from tinyci.notify.recipients import Recipients
from tinyci.notify.senderprocess import SenderProcess, read_recipients
from tinyci.notify.service import NotifyService
from tinyci.runtime.service import credential, etc, load_settings

log = logging.getLogger("tinyci.notify")


def main() -> None:
    """Run `tinyci-notify`, as tinyci-notify.service does."""
    is_test = bool(sys.argv[1:]) and _is_test()
    try:
        recipients = read_recipients(_read_urls())
        if is_test:
            sys.exit(asyncio.run(_send_test(recipients, load_settings(etc()).web_url)))
        _serve(recipients)
    except OSError as error:
        sys.exit(f"tinyci-notify: {': '.join(filter(None, (error.filename, error.strerror)))}")
    except ConfigError as error:
        sys.exit(f"tinyci-notify: {error}")


def _is_test() -> bool:
    """Read the command line."""
    import argparse  # a service, which has no arguments, would keep it in memory

    parser = argparse.ArgumentParser(prog="tinyci-notify", description="Tells people of deploys.", allow_abbrev=False)
    parser.add_argument("--test", action="store_true", help="send one message to every URL, say how that went, and end")
    parser.add_argument("--version", action="version", version=f"tinyci {__version__}")
    return bool(parser.parse_args().test)


def _url_file() -> Path:
    """The credential of the service, or for root, who tests URLs, the file that it is loaded from."""
    if directory := os.environ.get("CREDENTIALS_DIRECTORY"):
        return Path(directory) / "urls"
    return etc() / "credentials" / "notify"


def _read_urls() -> str:
    try:
        return _url_file().read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError("the credential 'urls' is not UTF-8") from None


async def _send_test(recipients: Recipients, web_url: str) -> int:
    """Send one message to each URL, and print the results. Return the exit status: 0 if there was no error."""
    for sentence in recipients.errors:
        print(f"wrong: {sentence}")
    error_count = len(recipients.errors)
    sender = SenderProcess()
    for recipient in recipients.valid:
        try:
            await sender.send(recipient.url, Message.test(web_url))
            print(f"sent: {recipient.name}", flush=True)
        except NotSentError as error:
            print(f"not sent: {recipient.name}: {error}", flush=True)
            error_count += 1
    await sender.close()
    if not recipients.valid and not error_count:
        print("there is no URL: nobody is told of anything")
    return 1 if error_count else 0


def _serve(recipients: Recipients) -> None:
    log_to_journal("tinyci-notify")
    for sentence in recipients.errors:
        log.error("a URL is left out, %s", sentence, extra=fields(message_id=catalog.WRONG_URL))
    if not os.environ.get("CREDENTIALS_DIRECTORY"):
        sys.exit("tinyci-notify: it runs as tinyci-notify.service; 'tinyci-notify --test' can be run by root")
    password = credential("redis-password", "tinyci-notify.service")
    state_directory = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/tinyci-notify"))
    asyncio.run(_run_service(state_directory, password, recipients))


async def _run_service(state_directory: Path, password: str, recipients: Recipients) -> None:
    await NotifyService(etc(), state_directory, password, recipients).run()


if __name__ == "__main__":
    main()
