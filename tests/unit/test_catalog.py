"""Everything that the daemon logs has a MESSAGE_ID, and the journal's catalog explains each of them."""

import ast
import re
import subprocess
from pathlib import Path
from typing import TypeGuard

import pytest
from tinyci import catalog

TREE = Path(__file__).parents[2]
CATALOG = (TREE / "units" / "catalog" / "tinyci.catalog").read_text(encoding="utf-8")
IDS = {name: value for name, value in vars(catalog).items() if name.isupper()}
LOGGERS = [
    path
    for path in (TREE / "daemon" / "tinyci").rglob("*.py")
    # Nobody looks up by its MESSAGE_ID what the pages say.
    if path.parent.name != "web" and "log = logging.getLogger" in path.read_text(encoding="utf-8")
]
FIELDS = {"TINYCI_JOB", "TINYCI_REPO", "TINYCI_UNIT", "TINYCI_STATE", "MESSAGE_ID"}


def entries() -> dict[str, str]:
    _, *parts = re.split(r"^-- (.*)\n", CATALOG, flags=re.M)
    assert len(parts[::2]) == len(set(parts[::2]))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_message_is_explained_and_nothing_else_is() -> None:
    assert len(set(IDS.values())) == len(IDS)
    assert sorted(entries()) == sorted(IDS.values())


@pytest.mark.parametrize("name", IDS)
def test_an_explanation_can_be_shown(name: str) -> None:
    """As strict as the parser of `journalctl --update-catalog`, which skips silently what it does not understand."""
    assert re.fullmatch(r"[0-9a-f]{32}", IDS[name])
    head, _, text = entries()[IDS[name]].partition("\n\n")
    assert [line.partition(": ")[0] for line in head.splitlines()] == ["Subject", "Defined-By", "Documentation"]
    assert text.strip()
    assert max(map(len, text.splitlines())) <= 84  # journalctl indents by three
    assert set(re.findall(r"@(\w+)@", head + text)) <= FIELDS


def test_journalctl_takes_the_catalog_in_where_the_role_installs_it(tmp_path: Path) -> None:
    role = (TREE / "ansible" / "roles" / "tinyci" / "vars" / "main.yml").read_text(encoding="utf-8")
    (place,) = re.findall(r"^  units/catalog: (\S+)$", role, re.M)
    for directory in (place, "var/lib/systemd/catalog"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / place / "tinyci.catalog").write_text(CATALOG, encoding="utf-8")
    journalctl = ["journalctl", f"--root={tmp_path}"]
    subprocess.run([*journalctl, "--update-catalog"], check=True)
    listing = subprocess.run([*journalctl, "--list-catalog"], check=True, capture_output=True, text=True).stdout
    assert sorted(line.split(" ")[0] for line in listing.splitlines()) == sorted(IDS.values())


def test_every_message_is_logged_somewhere() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in LOGGERS)
    assert {name for name in IDS if not re.search(rf"\bcatalog\.{name}\b", code)} == set()


def log_calls() -> list[tuple[str, str]]:
    """Return the place of each call that logs, with the source of its `extra`."""
    calls = []
    for path in LOGGERS:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        values = {(node.lineno, ast.unparse(node.targets[0])): node.value for node in ast.walk(tree) if is_assign(node)}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and re.match(r"log\.\w+\(", ast.unparse(node))):
                continue
            extra = next((keyword.value for keyword in node.keywords if keyword.arg == "extra"), None)
            if isinstance(extra, ast.Name):
                line = max((at for at, name in values if name == extra.id and at < node.lineno), default=0)
                extra = values.get((line, extra.id), extra)
            calls.append((f"{path.name}:{node.lineno}", ast.unparse(extra) if extra else ""))
    return calls


def is_assign(node: ast.AST) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign)


@pytest.mark.parametrize(("where", "extra"), log_calls())
def test_everything_that_is_logged_has_an_id(where: str, extra: str) -> None:
    assert re.search(r"message_id=catalog\.[A-Z_]+\b|'MESSAGE_ID': catalog\.[A-Z_]+\b", extra), where
