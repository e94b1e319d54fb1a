"""A real ntfy server on the host that tinyci-notify sends to, with a token that must stay secret."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from testhost import TestHost

PORT = 2586
TOPIC = "tinyci"
URLS = "/etc/tinyci/credentials/notify"
CONFIG = f"""\
base-url: "http://127.0.0.1:{PORT}"
listen-http: "127.0.0.1:{PORT}"
cache-file: "/var/lib/ntfy-tests/cache.db"
auth-file: "/var/lib/ntfy-tests/auth.db"
auth-default-access: "deny-all"
visitor-request-limit-exempt-hosts: "127.0.0.1"
"""


class Ntfy:
    """The ntfy server, with the messages of its topic."""

    def __init__(self, server: TestHost) -> None:
        self.server = server
        self.token = ""
        self._last = "all"

    def stop(self) -> None:
        self.server.sh("systemctl stop ntfy")

    def start(self) -> None:
        # It is up for systemd before it listens.
        self.server.sh(
            f"systemctl start ntfy; until curl -s -o /dev/null 127.0.0.1:{PORT}/v1/health; do sleep 0.1; done"
        )

    def messages(self) -> list[dict[str, Any]]:
        """The messages since the last call of forget()."""
        url = f"127.0.0.1:{PORT}/{TOPIC}/json?poll=1&since={self._last}"
        out = self.server.sh(f"curl -sf -H 'Authorization: Bearer {self.token}' '{url}'")
        return [each for each in map(json.loads, out.splitlines()) if each["event"] == "message"]

    def forget(self) -> None:
        """Ignore all messages so far."""
        if messages := self.messages():
            self._last = messages[-1]["id"]

    def wait_for(self, count: int, limit: float = 60) -> list[dict[str, Any]]:
        """Wait for that many messages; return them."""
        end = time.monotonic() + limit
        while len(messages := self.messages()) < count:
            assert time.monotonic() < end, (messages, self.server.sh("systemctl status tinyci-notify --no-pager; true"))
            time.sleep(0.2)
        return messages

    def wait_for_events(self, events: int, limit: float = 120) -> list[dict[str, Any]]:
        """Wait for messages about that many events; return them."""
        end = time.monotonic() + limit
        while sum(map(event_count, messages := self.messages())) < events:
            assert time.monotonic() < end, (messages, self.server.sh("systemctl status tinyci-notify --no-pager; true"))
            time.sleep(0.5)
        return messages


def event_count(message: dict[str, Any]) -> int:
    """The number of deploys that a message tells of."""
    numbers = re.match(r"(\d+) [a-z-]+(?:, (\d+) [a-z-]+)*(?= since )", message["message"])
    return sum(map(int, re.findall(r"\d+", numbers[0]))) if numbers else 1


def short_title(message: dict[str, Any]) -> str:
    """The title without the revision."""
    return str(message["title"]).partition(" \u2013 ")[0]


@contextmanager
def serve(server: TestHost) -> Iterator[Ntfy]:
    """Run the server, and have tinyci-notify send to it alone."""
    server.sh(
        "dpkg -s ntfy apprise >/dev/null 2>&1 || apt-get install -qq --no-install-recommends ntfy apprise", limit=300
    )
    # A server that was here before, of a run that was cut off, has another configuration.
    server.sh(
        "systemctl stop ntfy; rm -rf /var/lib/ntfy-tests; install -d -o _ntfy -g _ntfy -m 700 /var/lib/ntfy-tests"
    )
    server.sh("cp --update=none /etc/ntfy/server.yml /root/ntfy.yml; cat >/etc/ntfy/server.yml", stdin=CONFIG)
    ntfy = Ntfy(server)
    ntfy.start()  # it makes the file of its users
    output = server.sh(
        "cd /; as='setpriv --reuid _ntfy --regid _ntfy --clear-groups'\n"
        "NTFY_PASSWORD=password-of-tests $as ntfy user add --role=admin tests 2>&1\n"
        "$as ntfy token add tests 2>&1"
    )
    token = re.search(r"tk_\w+", output)
    assert token, output
    ntfy.token = token[0]
    before = server.run(f"cat {URLS}").out
    server.sh(f"umask 077; cat >{URLS}; systemctl restart tinyci-notify", stdin=url(ntfy))
    try:
        yield ntfy
    finally:
        if before:
            server.sh(f"umask 077; cat >{URLS}; systemctl restart tinyci-notify", stdin=before)
        else:
            server.sh(f"systemctl stop tinyci-notify; rm -f {URLS}")
        server.sh("systemctl stop ntfy; cp /root/ntfy.yml /etc/ntfy/server.yml; rm -rf /var/lib/ntfy-tests")


def url(ntfy: Ntfy) -> str:
    return f"# of the tests\nntfy://{ntfy.token}@127.0.0.1:{PORT}/{TOPIC}\n"
