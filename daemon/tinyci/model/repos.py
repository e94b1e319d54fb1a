"""The repos that are configured now, as the files of one directory say."""

from dataclasses import dataclass, field
from pathlib import Path

from tinyci.model import repo, toml
from tinyci.model.repo import Repo
from tinyci.model.toml import ConfigError


@dataclass
class Repos:
    """By name; `wrong` has what is wrong with the file of one that is not known."""

    known: dict[str, Repo] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    directory: str = repo.DIRECTORY

    @classmethod
    def read(cls, directory: str) -> "Repos":
        """One wrong file never stops the others."""
        repos = cls(directory=directory)
        for file in sorted(Path(directory).glob("*.toml")):
            try:
                one = repo.parse(str(file), toml.read(str(file)))
                repos.known[one.name] = one
            except (ConfigError, OSError) as error:
                repos.wrong[file.stem] = str(error)
        return repos

    def missing(self, name: str) -> str:
        """Why there is no repo of that name."""
        return self.wrong.get(name, f"there is no repo {name}: no file {self.directory}/{name}.toml")
