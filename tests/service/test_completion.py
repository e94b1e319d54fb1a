"""The tab key in real shells: they offer jobs and repos of the daemon, and without it nothing goes wrong."""

import asyncio
import os
import pty
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from fakerequests import ID, NEW_ID, FakeRequests
from objectserver import serving
from servers import TREE, MessageBus
from tinyci.api.objects import ObjectServer

COMPLETIONS = TREE / "completions"
FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "state": "building"}


@pytest_asyncio.fixture
async def tinyci(system_bus: MessageBus, requests: FakeRequests) -> AsyncIterator[ObjectServer]:
    async with serving(requests, "mail", "web") as server:
        server.add(ID, FIELDS)
        server.add(NEW_ID, {**FIELDS, "repo": "mail"})
        yield server


class Shell:
    """A person's shell, in which `tinyci` is a command."""

    def __init__(self, directory: Path, bus: MessageBus) -> None:
        command = directory / "bin" / "tinyci"
        command.parent.mkdir()
        program = shlex.join([sys.executable, "-m", "tinyci.cli.main"])
        command.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        command.chmod(0o755)
        self.environment = {
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "PYTHONPATH": str(TREE / "daemon"),
            "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }

    async def run(self, *command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert err == b"", err.decode()
        return out.decode()

    async def bash(self, line: str) -> list[str]:
        """The offers of bash at the end of that line, by the function that it would call then."""
        words = line.split(" ")
        script = (
            f"source {COMPLETIONS}/tinyci.bash\n"
            f"COMP_WORDS=({' '.join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}\n"
            'set -- $(complete -p tinyci); [ "$2 $4" = "-F tinyci" ] || exit 1\n'
            '"$3"; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        return (await self.run("bash", "--norc", "-c", script)).split()

    async def zsh(self, line: str) -> list[str]:
        """The offers of zsh, as its completion system passes them to _describe(1)."""
        script = (
            "_describe() { (( ! ${(P)#2} )) || print -l -- ${(P)2} }\n"
            f"words=({line.rstrip()} {chr(39) * 2 if line.endswith(' ') else ''}) CURRENT=${{#words}}\n"
            f"source {COMPLETIONS}/_tinyci"
        )
        return (await self.run("zsh", "-f", "-c", script)).split("\n")[:-1]

    async def fish(self, line: str) -> list[str]:
        script = f"source {COMPLETIONS}/tinyci.fish; complete --do-complete {shlex.quote(line)}"
        return (await self.run("fish", "--no-config", "--command", script)).splitlines()


@pytest.fixture
def shell(tmp_path: Path, message_bus: MessageBus) -> Shell:
    return Shell(tmp_path, message_bus)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tinyci ca", ["cancel"]),
        ("tinyci show ", ["@", "mail", "web", "11111111", "0d313b1e"]),
        ("tinyci show 0", ["0d313b1e"]),
        ("tinyci show 0d313b1e-", [ID]),
        ("tinyci show web ", []),
        ("tinyci jobs --s", ["--state"]),
        ("tinyci jobs --state ro", ["rolling-back", "rolled-back"]),
        ("tinyci jobs --state = ro", ["rolling-back", "rolled-back"]),
        ("tinyci jobs m", ["mail"]),
        ("tinyci log -f w", ["web"]),
        ("tinyci rollback --to 1", ["11111111"]),
        ("tinyci -", ["-h", "--help", "--version"]),
    ],
)
async def test_bash_offers_what_may_come_next(
    shell: Shell, tinyci: ObjectServer, line: str, offered: list[str]
) -> None:
    assert await shell.bash(line) == offered


async def test_a_ref_is_offered_as_run_takes_it(shell: Shell, tinyci: ObjectServer, requests: FakeRequests) -> None:
    refs = ("refs/heads/main", "refs/tags/v1", "refs/heads/release/*")
    requests.repos["web"] = requests.repos["web"]._replace(refs=refs)
    assert await shell.bash("tinyci run web ") == ["main", "refs/tags/v1"]


async def test_zsh_offers_the_same_with_what_it_is(shell: Shell, tinyci: ObjectServer) -> None:
    assert await shell.zsh("tinyci show 0") == ["0d313b1e:building web main"]
    assert (await shell.zsh("tinyci show "))[:2] == ["@:the newest job", "mail:repo of mail"]
    assert await shell.zsh("tinyci canc") == ["cancel:end a job that waits or builds"]


async def test_the_tab_key_completes_in_zsh(shell: Shell, message_bus: MessageBus) -> None:
    """With its whole completion system, on a terminal."""
    ours, its = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *("zsh", "-f", "-i"), env=shell.environment, stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    begin = f"unsetopt zle_bracketed_paste; fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -D\n"
    os.write(ours, begin.encode() + b"tinyci canc\t\nexit\n")
    output = b""
    with suppress(OSError):  # EIO is the end of a terminal
        while data := await asyncio.to_thread(os.read, ours, 4096):
            output += data
    os.close(ours)
    await process.wait()
    assert b"usage: tinyci cancel [-h] JOB" in output, output.decode()


async def test_fish_offers_the_same_with_what_it_is(shell: Shell, tinyci: ObjectServer) -> None:
    assert await shell.fish("tinyci show 0") == ["0d313b1e\tbuilding web main"]
    assert await shell.fish("tinyci canc") == ["cancel\tend a job that waits or builds"]
    assert await shell.fish("tinyci jobs --state=rolled") == ["--state=rolled-back"]


@pytest.mark.parametrize("address", ["no daemon", "unix:path=/nonexistent"])
async def test_without_a_daemon_there_is_quietly_nothing(shell: Shell, address: str) -> None:
    if address != "no daemon":
        shell.environment["DBUS_SYSTEM_BUS_ADDRESS"] = address
    assert await shell.bash("tinyci show ") == []
    assert await shell.zsh("tinyci show ") == []
    assert await shell.fish("tinyci show ") == []
    assert await shell.bash("tinyci cance") == ["cancel"]


@pytest.mark.parametrize(
    "command",
    [["bash", "-n", "tinyci.bash"], ["zsh", "-n", "_tinyci"], ["fish", "--no-execute", "tinyci.fish"]],
    ids=lambda command: command[0],
)
async def test_the_shell_reads_its_file(shell: Shell, command: list[str]) -> None:
    *how, name = command
    assert await shell.run(*how, str(COMPLETIONS / name)) == ""
