"""Output for `git push -o follow`: the jobs of the push, after the hook has made them.

Everything goes to stdout, which git brings to the pusher, a line at a time and at once. When the pusher goes away, this
ends too; the jobs are the daemon's.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from tinyci.cli.client import Client
from tinyci.cli.exitstatus import CommandError
from tinyci.cli.follower import Follower
from tinyci.cli.jobnames import ListedJob, short
from tinyci.cli.terminal import safe
from tinyci.model.state import State
from tinyci.model.text import short_ref


class PushDisplay:
    """The other end of a push. Its terminal is not known, so there are no colours."""

    def lines(self, lines: Sequence[str]) -> None:
        _write("".join(f"{safe(line)}\n" for line in lines))

    def stage(self, job: ListedJob, state: str) -> None:
        self.note(state)

    def note(self, sentence: str) -> None:
        _write(f"== {safe(sentence)}\n")

    def result(self, sentence: str) -> None:
        self.note(sentence)


def follow(jobs: Sequence[tuple[str, str, str]]) -> None:
    """Follow jobs (id, repo, ref) in turn, to the end of the last one."""
    with suppress(BrokenPipeError):
        for job_id, repo, ref in jobs:
            name = short(job_id)
            _write(
                f"== job {name} of {safe(repo)}, {safe(short_ref(ref))}\n"
                f"== Ctrl-C leaves it running; 'tinyci log -f {name}' on the server shows it again\n"
            )
            try:
                asyncio.run(_follow(ListedJob(job_id, repo, ref, State.QUEUED, "")))
            except CommandError as failure:
                _write(f"== job {name} cannot be followed: {safe(str(failure))}. It is not lost.\n")


async def _follow(job: ListedJob) -> None:
    daemon = await Client.connect()
    try:
        await Follower(daemon, job, PushDisplay()).follow()
    finally:
        await daemon.close()


def _write(text: str) -> None:
    sys.stdout.buffer.write(os.fsencode(text))
    sys.stdout.buffer.flush()
