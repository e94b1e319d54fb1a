"""The manual pages: man(1) can show them, and they agree with commands, settings and states."""

import argparse
import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from tinyci.cli import exitstatus
from tinyci.cli.commands import COMMANDS, parser
from tinyci.model import repo, settings, timespan
from tinyci.model.repo import Repo
from tinyci.model.state import FINAL, State
from tinyci.store.viewer import StoreViewer
from tinyci.web.activity import Activity
from tinyci.web.app import application
from tinyci.web.followers import Followers
from tinyci.web.main import parser as web_parser

TREE = Path(__file__).parents[2]
PAGES = sorted((TREE / "daemon" / "man").glob("*.md"))
TEXT = (TREE / "daemon" / "man" / "tinyci.1.md").read_text(encoding="utf-8")


def _load() -> ModuleType:
    file = TREE / "ansible" / "roles" / "tinyci" / "files" / "manpage.py"
    spec = importlib.util.spec_from_file_location("manpage", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


manpage = _load()

# -- pages -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=PAGES, ids=lambda path: path.stem)
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A page in the form in which it is installed."""
    path = tmp_path / request.param.stem
    path.write_text(manpage.roff(str(request.param), request.param.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def test_there_are_pages() -> None:
    assert {"tinyci.1", "tinyci-notify.service.8", "tinyci.service.8", "tinyci.toml.5"} <= {path.stem for path in PAGES}


def test_mandoc_has_nothing_to_say_of_a_page(page: Path) -> None:
    mandoc = subprocess.run(["mandoc", "-Tlint", str(page)], capture_output=True, text=True, check=False)
    assert (mandoc.returncode, mandoc.stdout + mandoc.stderr) == (0, "")


def test_man_shows_a_page_without_a_warning(page: Path) -> None:
    command = ["man", "--warnings", "--local-file", "--encoding=UTF-8", "--pager=cat", str(page)]
    man = subprocess.run(command, capture_output=True, text=True, check=True)
    assert man.stderr == ""
    assert man.stdout.count("\n") > 20
    assert "**" not in man.stdout, "no Markdown is left"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_says_what_whatis_needs(path: Path) -> None:
    name, section = path.stem.rsplit(".", 1)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"% {name}({section}) | ")
    assert re.search(rf"\n# NAME\n\n{re.escape(name)}\b[^\n]*(\n[^\n]+)? - ", text)


def test_the_markdown_is_refused_by_line_when_it_has_no_title() -> None:
    with pytest.raises(manpage.PageError, match=r"^x\.1\.md:1: expected '% NAME\(SECTION\) \| YYYY-MM-DD'$"):
        manpage.roff("x.1.md", "# NAME\n")


def test_a_line_that_only_looks_like_a_heading_is_text() -> None:
    page = manpage.roff("x.1.md", "% x(1) | 2026-01-01\n\n# NAME\n\n#7 is a number\n#### a rule\n")
    assert page.endswith(".SH NAME\n#7 is a number #### a rule\n")


def test_text_that_roff_would_obey_is_text(tmp_path: Path) -> None:
    page = tmp_path / "x.1"
    source = (
        "% x(1) | 2026-01-01\n\n# NAME\n\nx - y\n\n# BAD\n\n.so /etc/passwd\n'br\n\n    .br \\n(.g\n\n`\\fB a-b~^`…\n"
    )
    page.write_text(manpage.roff("x.1.md", source))
    command = ["man", "--warnings", "--local-file", "--encoding=UTF-8", "--pager=cat", str(page)]
    man = subprocess.run(command, capture_output=True, text=True, check=True)
    assert man.stderr == ""
    lines = [line.strip() for line in man.stdout.splitlines()]
    assert ".so /etc/passwd 'br" in lines
    assert ".br \\n(.g" in lines
    assert "\\fB a-b~^…" in lines


# -- the page of the command line --------------------------------------------------------------------------------


def section(name: str) -> str:
    match = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert match, name
    return match[1]


def commands_of_page() -> dict[str, tuple[set[str], set[str]]]:
    """Return the options and arguments of each command that the page has."""
    commands: dict[str, tuple[set[str], set[str]]] = {}
    for part in re.split(r"^(?=\*\*\w)", section("COMMANDS"), flags=re.MULTILINE)[1:]:
        head, _, rest = part.partition("\n")
        name = re.match(r"\*\*(\w+)\*\*", head)
        assert name, head
        terms = re.findall(r"^    (\*\*-.*)$", rest, re.MULTILINE)
        options = {option for term in terms for option in re.findall(r"\*\*(-[\w-]+)\*\*", term)}
        commands[name[1]] = (options, set(re.findall(r"\*([A-Z|]+)\*", head)))
    return commands


def parser_of(name: str) -> argparse.ArgumentParser:
    (commands,) = (each for each in parser(name)._actions if isinstance(each, argparse._SubParsersAction))
    command_parser = commands.choices[name]
    assert isinstance(command_parser, argparse.ArgumentParser)
    return command_parser


def test_the_page_has_every_command_and_no_other() -> None:
    assert list(commands_of_page()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_option_of_a_command_and_no_other(name: str) -> None:
    actions = parser_of(name)._actions
    options = {option for action in actions for option in action.option_strings} - {"-h", "--help"}
    arguments = {part for action in actions if not action.option_strings for part in str(action.metavar).split("|")}
    assert commands_of_page()[name] == (options, arguments)


def test_the_page_has_the_options_of_all_commands() -> None:
    terms = re.findall(r"^(\*\*-.*)$", section("OPTIONS"), re.MULTILINE)
    options = {option for term in terms for option in re.findall(r"\*\*(-[\w-]+)\*\*", term)}
    assert options == {option for action in parser("")._actions for option in action.option_strings}


def test_the_page_has_every_exit_status() -> None:
    statuses = {int(number) for number in re.findall(r"\*\*(\d+)\*\*", section("EXIT STATUS"))}
    constants = {value for name, value in vars(exitstatus).items() if name.isupper() and isinstance(value, int)}
    assert statuses == constants | set(exitstatus.OF_STATE.values())


def test_states_and_their_exit_statuses_are_those_of_jobs() -> None:
    assert set(exitstatus.OF_STATE) == {str(state) for state in FINAL}
    (states,) = (each.choices for each in parser_of("jobs")._actions if each.metavar == "STATE")
    assert list(states or ()) == [str(state) for state in State]
    assert len(set(exitstatus.OF_STATE.values())) == len(exitstatus.OF_STATE)
    words = re.findall(r"(?<!\*)\*([a-z-]+)\*(?!\*)", section("EXIT STATUS").partition("**10**")[2])
    assert [exitstatus.OF_STATE[word] for word in words] == sorted(filter(None, exitstatus.OF_STATE.values()))


# -- the page of the configuration -------------------------------------------------------------------------------

TOML = (TREE / "daemon" / "man" / "tinyci.toml.5.md").read_text(encoding="utf-8")


def terms(name: str) -> dict[str, str]:
    """Return the terms of a section, each with its default; empty if none is given."""
    match = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", TOML, re.MULTILINE | re.DOTALL)
    assert match, name
    items = re.findall(r"^((?:\*\*[^*]+\*\* ?)+)\n:   (.*?)(?=^\*\*|\Z)", match[1], re.MULTILINE | re.DOTALL)
    defaults = {term.replace("*", ""): re.search(r"Default:\s+`?(.*?)[`,\n ]", text) for term, text in items}
    return {term: default[1].rstrip(".") if default else "" for term, default in defaults.items()}


def test_the_page_has_every_key_of_a_repo_with_its_default() -> None:
    keys = terms("A REPO")
    assert list(keys) == [field for field in Repo._fields if field != "name"]
    plain = repo.parse("web.toml", 'repository = "/srv/git/web.git"\nuser = "web"')
    for key in ("timeout", "restart_timeout", "settle", "verify_timeout"):
        assert timespan.parse(keys[key]) == getattr(plain, key), key
    assert (keys["script"], int(keys["keep_images"])) == (plain.script, plain.keep_images)


def test_the_page_has_every_key_of_the_daemon_with_its_default() -> None:
    keys = terms("THE DAEMON")
    plain = settings.parse("tinyci.toml", "", cpus=7)
    assert len(keys) == len(plain)
    assert keys["[redis] socket"] == plain.redis_socket
    assert int(keys["[limits] log"]) == plain.log_max
    assert int(keys["[limits] output"]) == plain.output_max
    assert int(keys["[keep] jobs"]) == plain.keep_jobs
    assert timespan.parse(keys["[keep] age"]) == plain.keep_age
    assert "parallel" in keys


# -- the page of the web pages -----------------------------------------------------------------------------------

WEB = (TREE / "daemon" / "man" / "tinyci-web.service.8.md").read_text(encoding="utf-8")


def test_the_page_has_every_option_of_tinyci_web_and_no_other() -> None:
    options = set(re.findall(r"\*\*(-[\w-]+)\*\*", WEB.partition("# OPTIONS")[2].partition("# ADDRESSES")[0]))
    assert options == {option for action in web_parser()._actions for option in action.option_strings}


async def test_the_page_has_every_address_of_tinyci_web_and_no_other() -> None:
    viewer = StoreViewer("/nowhere", "web", "")
    app = application(viewer, Followers(viewer), Activity())
    resources = {resource.canonical for resource in app.router.resources()} - {"/static/{name}"}
    part = WEB.partition("# ADDRESSES")[2].partition("Anything but GET")[0]
    terms = "".join(re.findall(r"^\*\*/.*$", part, re.MULTILINE))
    addresses = re.findall(r"\*\*(/[^*]*)\*\*", terms)
    assert {each.replace("NAME", "{repo}").replace("ID", "{job}") for each in addresses} == resources
