"""The configured repos: the files of one directory."""

from dataclasses import dataclass, field
from pathlib import Path

from tinyci.model import repo, toml
from tinyci.model.repo import Repo
from tinyci.model.toml import ConfigError


@dataclass
class Repos:
    """The repos whose files are right, and the errors of the other files."""

    by_name: dict[str, Repo] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """By name: one sentence on the file of a repo that is not in `by_name`."""
    directory: str = repo.DIRECTORY

    @classmethod
    def read(cls, directory: str) -> "Repos":
        """Read the files of a directory. A wrong file stops no other."""
        repos = cls(directory=directory)
        for file in sorted(Path(directory).glob("*.toml")):
            try:
                valid_repo = repo.parse(str(file), toml.read(str(file)))
                repos.by_name[valid_repo.name] = valid_repo
            except ConfigError as error:
                repos.errors[file.stem] = str(error)
        return repos

    def user_of(self, name: str) -> str:
        """Return the user of a repo; empty when there is no repo of that name."""
        repo = self.by_name.get(name)
        return repo.user if repo else ""

    def images_user_of(self, name: str) -> str:
        """Return the user of a repo whose deploys restart units; empty for another one."""
        repo = self.by_name.get(name)
        return repo.user if repo and repo.units else ""

    def missing_reason(self, name: str) -> str:
        """Return why there is no repo of that name, in a sentence."""
        return self.errors.get(name, f"there is no repo {name}: no file {self.directory}/{name}.toml")
