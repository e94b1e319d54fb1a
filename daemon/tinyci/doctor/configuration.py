"""The files in /etc/tinyci: valid, and with the right rights."""

import os
import shlex
from collections.abc import Mapping

from tinyci.doctor.finding import Finding, ok, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import File, System
from tinyci.model import repo, settings, toml
from tinyci.model.repo import Repo
from tinyci.model.settings import Settings
from tinyci.model.toml import ConfigError

ETC = "/etc/tinyci"


class Configuration:
    """The files as the daemon reads them, and errors in them by path."""

    def __init__(self, etc: str = ETC) -> None:
        self.repos: dict[str, Repo] = {}
        self.errors: dict[str, str] = {}
        self.settings: Settings = settings.parse("", "", 1)
        self.paths = [etc, f"{etc}/repos.d", f"{etc}/tinyci.toml"]
        path = self.paths[2]
        try:
            self.settings = settings.parse(path, toml.read(path) if os.path.exists(path) else "", 1)
        except ConfigError as error:
            self.errors[path] = str(error)
        for path in _files(self.paths[1]):
            self.paths.append(path)
            try:
                one = repo.parse(path, toml.read(path))
                self.repos[one.name] = one
            except ConfigError as error:
                self.errors[path] = str(error)


def _files(directory: str) -> list[str]:
    try:
        return sorted(f"{directory}/{name}" for name in os.listdir(directory) if name.endswith(".toml"))
    except OSError:  # its rights, or that it is missing, is a finding of its own
        return []


def judge_files(errors: Mapping[str, str], repo_count: int) -> list[Finding]:
    if not errors:
        return [ok("configuration", f"what stands in {ETC} is in order: {repo_count} repos")]
    return [
        wrong(Problem.CONFIGURATION_INVALID, f"{text}; correct it, then 'systemctl reload tinyci.service'")
        for text in errors.values()
    ]


def judge_rights(files: Mapping[str, File | None]) -> list[Finding]:
    """`files`: by path; None where there is none."""
    check, findings = "configuration-rights", []
    for path, file in files.items():
        word = shlex.quote(path)
        if file is None and path == f"{ETC}/repos.d":
            text = f"{path} is missing: tinyci knows no repo"
            findings.append(wrong(Problem.CONFIGURATION_NO_REPOS, text, f"install --directory --mode=0755 {word}"))
        if file is None:
            continue
        readable = 0o005 if file.is_directory else 0o004
        if file.owner != "root" or file.mode & 0o022:
            text = f"{path} is {file.rights}: who may write it decides what is run, and that is root alone"
            findings.append(
                wrong(Problem.CONFIGURATION_WRITABLE, text, f"chown root:root {word} && chmod a+rX,go-w {word}")
            )
        elif file.mode & readable != readable:
            text = f"{path} is {file.rights}: the hook, the daemon and the users' builds cannot read it"
            findings.append(wrong(Problem.CONFIGURATION_UNREADABLE, text, f"chmod a+rX {word}"))
    return findings or [ok(check, f"what stands in {ETC} is root's, and readable by all")]


def look(system: System, config: Configuration) -> list[Finding]:
    return [
        *judge_rights({path: system.file(path) for path in config.paths}),
        *judge_files(config.errors, len(config.repos)),
    ]
