"""The command `host`: makes, boots, provisions and removes throwaway Debian hosts for the tests, and pushes to them."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from baseimage import SUITES
from common import CACHE, HostCommandError, say
from throwawayhost import HOSTS, ThrowawayHost

INVENTORY = Path(__file__).resolve().parent / "inventory/hosts.yml"
NEEDED = {
    "nc": "netcat-openbsd",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container",
}


def up(host: ThrowawayHost, options: argparse.Namespace) -> None:
    start = time.monotonic()
    with host.alone():
        if host.exists():
            host.boot()
            return
        with removed_on_failure(host, keep=options.keep):
            host.make(options.suite)
            host.boot()
    if not options.bare:
        with removed_on_failure(host, keep=options.keep):
            host.provision(options.inventory, [])
    say(f"{host.name} is up", start)


@contextmanager
def removed_on_failure(host: ThrowawayHost, *, keep: bool) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if not keep:
            host.down()
        raise


def boot(host: ThrowawayHost, options: argparse.Namespace) -> None:
    with host.alone():
        host.boot()


def provision(host: ThrowawayHost, options: argparse.Namespace) -> None:
    host.need()
    host.provision(options.inventory, options.arguments)


def execute(host: ThrowawayHost, options: argparse.Namespace) -> None:
    host.need()
    host.execute(options.arguments)


def ssh(host: ThrowawayHost, options: argparse.Namespace) -> None:
    host.need()
    host.ssh(options.arguments)


def ssh_config(host: ThrowawayHost, options: argparse.Namespace) -> None:
    host.need()
    print(host.ssh_config)


def push(host: ThrowawayHost, options: argparse.Namespace) -> None:
    host.need()
    host.push(options.directory, options.repo, options.arguments)


def reboot(host: ThrowawayHost, options: argparse.Namespace) -> None:
    host.need()
    with host.alone():
        host.machine.reboot()


def kill(host: ThrowawayHost, options: argparse.Namespace) -> None:
    host.need()
    with host.alone():
        host.machine.kill()


def down(host: ThrowawayHost, options: argparse.Namespace) -> None:
    with host.alone():
        host.down()


def show() -> None:
    for directory in sorted(HOSTS.glob("*/")):
        host = ThrowawayHost(directory.name)
        state = "running" if host.machine.runs() else "stopped" if host.exists() else "unfinished"
        print(f"{host.name:<20} {state:<10} {directory}")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="host",
        description="Throwaway Debian hosts for the tests. They live in $TINYCI_CACHE, by default ~/.cache/tinyci.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[ThrowawayHost, argparse.Namespace], None] | None, text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(run=run)
        if run:
            sub.add_argument("name", metavar="NAME")
        return sub

    def rest(sub: argparse.ArgumentParser, metavar: str, text: str) -> None:
        sub.add_argument("arguments", nargs=argparse.REMAINDER, metavar=metavar, help=text)

    sub = command("up", up, "make, boot and provision a host; boot it again if it is there and stopped")
    sub.add_argument("--suite", choices=SUITES, default=SUITES[0])
    sub.add_argument("--bare", action="store_true", help="do not provision it")
    sub.add_argument("--keep", action="store_true", help="leave it as it is when something fails")
    add_inventory(sub)
    command("boot", boot, "boot a stopped host")
    sub = command("provision", provision, "run server.yml and apps.yml on it")
    add_inventory(sub)
    rest(sub, "ARGUMENT", "for ansible-playbook")
    rest(command("exec", execute, "run a command in it as root, with its status, input and output"), "COMMAND", "")
    rest(command("ssh", ssh, "ssh to it as admin"), "ARGUMENT", "for ssh, or a command")
    command("ssh-config", ssh_config, "print the path of a configuration for ssh, Ansible and Testinfra")
    sub = command("push", push, "git push HEAD over SSH to branch master of /srv/git/REPO.git")
    sub.add_argument("directory", metavar="REPO_DIR")
    sub.add_argument("repo", metavar="REPO")
    rest(sub, "ARGUMENT", "options for git push (as --option=value), or refspecs to push instead")
    command("reboot", reboot, "reboot it and wait until it is up again")
    command("kill", kill, "cut its power; 'boot' starts it again")
    command("down", down, "remove it")
    command("list", None, "list the hosts")
    return parser


def add_inventory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--inventory", type=Path, default=INVENTORY, metavar="PATH", help="default: %(default)s")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, by default this process's."""
    options = parser().parse_args(words)
    arguments = getattr(options, "arguments", [])
    if arguments[:1] == ["--"]:
        del arguments[0]
    if options.command == "provision":
        # What comes after NAME is ansible-playbook's, except an inventory: with two, it would set up a machine twice.
        inventory = argparse.ArgumentParser(prog="host provision NAME", add_help=False, allow_abbrev=False)
        add_inventory(inventory)
        _, options.arguments = inventory.parse_known_args(arguments, options)
    if options.command == "exec" and not options.arguments:
        raise HostCommandError("exec what? 'host exec NAME -- COMMAND…'")
    return options


def main() -> None:
    options = parse()
    if os.geteuid() != 0:
        raise HostCommandError("only root can boot a host: run this as root")
    for program, package in NEEDED.items():
        if not shutil.which(program):
            raise HostCommandError(f"{program} (Debian package {package}) is not installed: run tests/prepare")
    # Trees with programs that run as whoever owns them: nobody else need reach those.
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    if options.command == "list":
        show()
    else:
        options.run(ThrowawayHost(options.name), options)


def run() -> None:
    """Run the command of this process, and exit with its status."""
    # Python ignores SIGPIPE, and what we become (exec, ssh, push) would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Files that are written on a host get the modes that they get on a server, whoever started us.
    os.umask(0o022)
    try:
        main()
    except HostCommandError as failure:
        sys.exit(f"host: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
