"""Counts what STYLE.md asks of names and docstrings, from the source: `python tests/house.py [--list] [DIRECTORY]`.

tests/unit/test_house.py holds the figures to their limits.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PRODUCT = Path(__file__).resolve().parents[1] / "daemon" / "tinyci"

# Past participles that do not end in -ed, and that programs are tempted to use as nouns.
_IRREGULAR = """
    begun bought bound broken brought built caught chosen cut done drawn driven fallen felt forgotten found frozen given
    gone grown heard held hidden kept known laid led left lent lost made meant met paid put read run said seen sent set
    shown shut sold sought spent split spoken stolen stood struck sworn taken taught thought thrown told understood
    woken won worn written
"""
# Words that end so and are no participles, or that are nouns as well: a set, a read, a run, a split, a cut, a bound.
_NOUNS = "red seed feed need speed bed id embed shed thread spread set read run split cut bound"
IRREGULAR = frozenset(_IRREGULAR.split())
NOUNS = frozenset(_NOUNS.split())
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
QUESTIONS = re.compile(r"(?:What|Who|How|Whether|Those)\b")


class Place(NamedTuple):
    """Something in the source that is counted."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Figures(NamedTuple):
    """What was counted in a directory."""

    names: int
    participles: list[Place]
    docstrings: int
    questions: list[Place]
    """Docstrings that begin with a question word."""
    positional_booleans: list[Place]
    exceptions: list[Place]
    """Not named Error."""
    longest: Place
    """The longest file, with its number of lines."""

    @property
    def participles_per_thousand(self) -> float:
        return 1000 * len(self.participles) / max(self.names, 1)

    @property
    def questions_percent(self) -> float:
        return 100 * len(self.questions) / max(self.docstrings, 1)


def is_participle(name: str) -> bool:
    word = name.strip("_")
    if "_" in word or word in NOUNS:
        return False
    return word in IRREGULAR or re.fullmatch(r"[a-z]+ed", word) is not None


def assigned_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names of variables and fields that are assigned, loops and `with` and `except` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno


def docstrings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield text, getattr(node, "lineno", 1)


def positional_booleans(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Parameters that are annotated as bool, and may be given by their place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument in (*node.args.posonlyargs, *node.args.args):
                if argument.annotation and ast.unparse(argument.annotation) in ("bool", "bool | None"):
                    yield f"{node.name}({argument.arg})", argument.lineno


def misnamed_exceptions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ClassDef)
            and not node.name.endswith("Error")
            and any(ast.unparse(base).endswith(("Exception", "Error")) for base in node.bases)
        ):
            yield node.name, node.lineno


def count(directory: Path) -> Figures:
    figures = Figures(0, [], 0, [], [], [], Place(directory, 0, ""))
    for file in sorted(directory.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        names, docs = list(assigned_names(tree)), list(docstrings(tree))
        lines = text.count("\n")
        longest = Place(file, lines, f"{lines} lines") if lines > figures.longest.line else figures.longest
        figures = figures._replace(
            names=figures.names + len(names), docstrings=figures.docstrings + len(docs), longest=longest
        )
        figures.participles.extend(Place(file, line, name) for name, line in names if is_participle(name))
        figures.questions.extend(Place(file, line, doc) for doc, line in docs if QUESTIONS.match(doc))
        figures.positional_booleans.extend(Place(file, line, name) for name, line in positional_booleans(tree))
        figures.exceptions.extend(Place(file, line, name) for name, line in misnamed_exceptions(tree))
    return figures


def main() -> None:
    arguments = [each for each in sys.argv[1:] if each != "--list"]
    figures = count(Path(arguments[0]) if arguments else PRODUCT)
    print(f"bare participles: {figures.participles_per_thousand:.1f} of 1,000 names ({figures.names})")
    print(f"docstrings that begin with a question: {figures.questions_percent:.1f} % of {figures.docstrings}")
    print(f"positional booleans: {len(figures.positional_booleans)}")
    print(f"exceptions not named Error: {len(figures.exceptions)}")
    print(f"longest file: {figures.longest.file} ({figures.longest.text})")
    if "--list" in sys.argv:
        for places in (figures.participles, figures.questions, figures.positional_booleans, figures.exceptions):
            print(*places, sep="\n")


if __name__ == "__main__":
    main()
