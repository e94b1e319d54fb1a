"""Git as a stage runs it: its output, or its error."""

import os

from tinyci.stage.process import Process


class GitError(Exception):
    """An error of git: its last line."""

    def __init__(self, lines: list[str], fallback: str) -> None:
        super().__init__(lines[-1] if lines else fallback)
        self.lines = lines
        """All that git says."""
        self.cause = _cause(lines) or str(self)
        """The line that says what is wrong."""


class Git:
    """A git that was started."""

    def __init__(self, *command: str, stdin: str = "", **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **variables}
        self._name = command[0]
        self._process = Process(command, environment, stdin.encode())

    def output(self) -> str:
        """Return the output when it has ended. Raises GitError."""
        status, output, errors = self._process.wait()
        if status:
            lines = errors.decode("utf-8", "replace").strip().splitlines()
            raise GitError(lines, f"{self._name} ended with status {status}")
        return output.decode("utf-8", "surrogateescape")


def run(*command: str, stdin: str = "", **variables: str) -> str:
    """Run a command, and return its output. Raises GitError."""
    return Git(*command, stdin=stdin, **variables).output()


def bare(repository: str, *arguments: str) -> str:
    """Run git in a bare repository, whoever owns it. Raises GitError."""
    return run("git", "-c", f"safe.directory={repository}", f"--git-dir={repository}", *arguments)


def _cause(lines: list[str]) -> str:
    """Return the first line that says what is wrong; of a connection that failed, the last words of ssh."""
    before = ""
    for line in lines:
        if line.startswith("fatal: Could not read from remote repository"):
            return before or line
        if line.startswith(("fatal: ", "error: ")):
            return line
        before = "" if line.startswith("Cloning into ") else line
    return ""
