"""The manual pages: readable by man(1), and saying what the command line says of itself."""

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
    """A page as it is installed."""
    made = tmp_path / request.param.stem
    made.write_text(manpage.roff(str(request.param), request.param.read_text(encoding="utf-8")), encoding="utf-8")
    return made


def test_there_are_pages() -> None:
    assert {"tinyci.1", "tinyci-notify.service.8", "tinyci.service.8", "tinyci.toml.5"} <= {path.stem for path in PAGES}


def test_mandoc_has_nothing_to_say_of_a_page(page: Path) -> None:
    done = subprocess.run(["mandoc", "-Tlint", str(page)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_man_shows_a_page_without_a_warning(page: Path) -> None:
    command = ["man", "--warnings", "--local-file", "--encoding=UTF-8", "--pager=cat", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") > 20
    assert "**" not in done.stdout, "no Markdown is left"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_says_what_whatis_needs(path: Path) -> None:
    name, section = path.stem.rsplit(".", 1)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"% {name}({section}) | ")
    assert re.search(rf"\n# NAME\n\n{re.escape(name)}\b[^\n]*(\n[^\n]+)? - ", text)


def test_the_markdown_is_refused_by_line_when_it_has_no_title() -> None:
    with pytest.raises(manpage.PageError, match=r"^x\.1\.md:1: expected '% NAME\(SECTION\) \| YYYY-MM-DD'$"):
        manpage.roff("x.1.md", "# NAME\n")


def test_text_that_roff_would_obey_is_text(tmp_path: Path) -> None:
    page = tmp_path / "x.1"
    source = (
        "% x(1) | 2026-01-01\n\n# NAME\n\nx - y\n\n# BAD\n\n.so /etc/passwd\n'br\n\n    .br \\n(.g\n\n`\\fB a-b~^`…\n"
    )
    page.write_text(manpage.roff("x.1.md", source))
    command = ["man", "--warnings", "--local-file", "--encoding=UTF-8", "--pager=cat", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    told = [line.strip() for line in done.stdout.splitlines()]
    assert ".so /etc/passwd 'br" in told
    assert ".br \\n(.g" in told
    assert "\\fB a-b~^…" in told


# -- the page of the command line --------------------------------------------------------------------------------


def section(name: str) -> str:
    found = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def described() -> dict[str, tuple[set[str], set[str]]]:
    """Options and arguments of each command, as the page tells them."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for part in re.split(r"^(?=\*\*\w)", section("COMMANDS"), flags=re.MULTILINE)[1:]:
        head, _, rest = part.partition("\n")
        name = re.match(r"\*\*(\w+)\*\*", head)
        assert name, head
        terms = re.findall(r"^    (\*\*-.*)$", rest, re.MULTILINE)
        options = {option for term in terms for option in re.findall(r"\*\*(-[\w-]+)\*\*", term)}
        found[name[1]] = (options, set(re.findall(r"\*([A-Z|]+)\*", head)))
    return found


def of_command(name: str) -> argparse.ArgumentParser:
    (commands,) = (each for each in parser(name)._actions if isinstance(each, argparse._SubParsersAction))
    made = commands.choices[name]
    assert isinstance(made, argparse.ArgumentParser)
    return made


def test_the_page_has_every_command_and_no_other() -> None:
    assert list(described()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_option_of_a_command_and_no_other(name: str) -> None:
    actions = of_command(name)._actions
    options = {option for action in actions for option in action.option_strings} - {"-h", "--help"}
    arguments = {part for action in actions if not action.option_strings for part in str(action.metavar).split("|")}
    assert described()[name] == (options, arguments)


def test_the_page_has_the_options_of_all_commands() -> None:
    terms = re.findall(r"^(\*\*-.*)$", section("OPTIONS"), re.MULTILINE)
    told = {option for term in terms for option in re.findall(r"\*\*(-[\w-]+)\*\*", term)}
    assert told == {option for action in parser("")._actions for option in action.option_strings}


def test_the_page_has_every_exit_status() -> None:
    told = {int(number) for number in re.findall(r"\*\*(\d+)\*\*", section("EXIT STATUS"))}
    named = {value for name, value in vars(exitstatus).items() if name.isupper() and isinstance(value, int)}
    assert told == named | set(exitstatus.OF_STATE.values())


def test_states_and_their_exit_statuses_are_those_of_jobs() -> None:
    assert set(exitstatus.OF_STATE) == {str(state) for state in FINAL}
    (states,) = (each.choices for each in of_command("jobs")._actions if each.metavar == "STATE")
    assert list(states or ()) == [str(state) for state in State]
    assert len(set(exitstatus.OF_STATE.values())) == len(exitstatus.OF_STATE)
    words = re.findall(r"(?<!\*)\*([a-z-]+)\*(?!\*)", section("EXIT STATUS").partition("**15**")[2])
    assert [exitstatus.OF_STATE[word] for word in words] == [10, 11, 12, 13, 14, 15]


# -- the page of the configuration -------------------------------------------------------------------------------

TOML = (TREE / "daemon" / "man" / "tinyci.toml.5.md").read_text(encoding="utf-8")


def terms(name: str) -> dict[str, str]:
    """What a section defines, and the default that it gives for each."""
    found = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", TOML, re.MULTILINE | re.DOTALL)
    assert found, name
    items = re.findall(r"^((?:\*\*[^*]+\*\* ?)+)\n:   (.*?)(?=^\*\*|\Z)", found[1], re.MULTILINE | re.DOTALL)
    defaults = {term.replace("*", ""): re.search(r"Default:\s+`?(.*?)[`,\n ]", text) for term, text in items}
    return {term: default[1].rstrip(".") if default else "" for term, default in defaults.items()}


def test_the_page_has_every_key_of_a_repo_with_its_default() -> None:
    told = terms("A REPO")
    assert list(told) == [field for field in Repo._fields if field != "name"]
    plain = repo.parse("web.toml", 'repository = "/srv/git/web.git"\nuser = "web"')
    for key in ("timeout", "restart_timeout", "settle", "verify_timeout"):
        assert timespan.parse(told[key]) == getattr(plain, key), key
    assert (told["script"], int(told["keep_images"])) == (plain.script, plain.keep_images)


def test_the_page_has_every_key_of_the_daemon_with_its_default() -> None:
    told = terms("THE DAEMON")
    plain = settings.parse("tinyci.toml", "", cpus=7)
    assert len(told) == len(plain)
    assert told["[redis] socket"] == plain.redis_socket
    assert int(told["[limits] log"]) == plain.log_max
    assert int(told["[limits] output"]) == plain.output_max
    assert int(told["[keep] jobs"]) == plain.keep_jobs
    assert timespan.parse(told["[keep] age"]) == plain.keep_age
    assert "parallel" in told


# -- the page of the web pages -----------------------------------------------------------------------------------

WEB = (TREE / "daemon" / "man" / "tinyci-web.service.8.md").read_text(encoding="utf-8")


def test_the_page_has_every_option_of_tinyci_web_and_no_other() -> None:
    told = set(re.findall(r"\*\*(-[\w-]+)\*\*", WEB.partition("# OPTIONS")[2].partition("# ADDRESSES")[0]))
    assert told == {option for action in web_parser()._actions for option in action.option_strings}


async def test_the_page_has_every_address_of_tinyci_web_and_no_other() -> None:
    archive = StoreViewer("/nowhere", "web", "")
    app = application(archive, Followers(archive), Activity())
    served = {resource.canonical for resource in app.router.resources()} - {"/static/{name}"}
    part = WEB.partition("# ADDRESSES")[2].partition("Anything but GET")[0]
    terms = "".join(re.findall(r"^\*\*/.*$", part, re.MULTILINE))
    told = re.findall(r"\*\*(/[^*]*)\*\*", terms)
    assert {each.replace("NAME", "{repo}").replace("ID", "{job}") for each in told} == served
