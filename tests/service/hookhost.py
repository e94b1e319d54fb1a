"""A host where a push runs our hook."""

import shlex
import subprocess
import sys
from pathlib import Path

from gitrepos import Clone
from servers import TREE, Redis


class HookHost:
    """A repository that the hook serves, the hook's configuration, and its spool."""

    def __init__(self, directory: Path, redis: Redis) -> None:
        self.redis = redis
        self.etc = directory / "etc"
        self.spool = directory / "spool"
        self.clone = Clone(directory)
        (self.etc / "repos.d").mkdir(parents=True)
        (self.etc / "credentials").mkdir()
        self.spool.mkdir()
        self.write_config(f'[redis]\nsocket = "{redis.socket}"\n')
        self.write_password("secret-hook")
        self.write_repo("web")
        self._install(directory / "hooks")

    def _install(self, hooks: Path) -> None:
        """The hook's first line names the server's own Python: run it by this one, isolated in the same way."""
        hook = TREE / "hooks" / "post-receive"
        assert hook.read_text().startswith("#!/opt/tinyci/bin/python3 -IS\n")
        program = (
            f"import runpy, sys; sys.path.insert(0, {str(TREE / 'daemon')!r}); "
            f"runpy.run_path({str(hook)!r}, None, '__main__')"
        )
        hooks.mkdir()
        wrapper = hooks / "post-receive"
        wrapper.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, '-IS', '-c', program])}\n")
        wrapper.chmod(0o755)
        for name, value in (("core.hooksPath", str(hooks)), ("receive.advertisePushOptions", "true")):
            subprocess.run(["git", f"--git-dir={self.clone.bare}", "config", name, value], check=True)

    def write_config(self, text: str | bytes) -> None:
        (self.etc / "tinyci.toml").write_bytes(text.encode() if isinstance(text, str) else text)

    def write_password(self, text: str) -> None:
        (self.etc / "credentials" / "redis-hook").write_text(f"{text}\n")

    def write_repo(self, name: str, refs: str = '["refs/heads/main"]', more: str = "") -> None:
        text = f'repository = "{self.clone.bare}"\nuser = "web"\nrefs = {refs}\n{more}'
        (self.etc / "repos.d" / f"{name}.toml").write_text(text)

    def push(self, *refspecs: str, **environment: str) -> list[str]:
        """Push, and return the lines of the hook that the pusher sees."""
        output = self.clone.push(*refspecs, TINYCI_ETC=str(self.etc), TINYCI_SPOOL=str(self.spool), **environment)
        return [line.removeprefix("remote: ").rstrip() for line in output.splitlines() if line.startswith("remote: ")]

    def queued_ids(self) -> list[str]:
        """Return the ids of the queue in the order in which the daemon takes them."""
        ids: list[str] = self.redis.data.lrange("tinyci:queue", 0, -1)
        return ids[::-1]

    def fields(self, job_id: str) -> dict[str, str]:
        fields: dict[str, str] = self.redis.data.hgetall(f"tinyci:new:{job_id}")
        return fields
