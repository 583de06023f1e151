"""House rules that are checked: length, names, prints, module state, what must not be in the repository."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from test_layers import ROOT, modules

FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 60
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
MAY_PRINT = ("cli", "day")


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_files_can_be_held_in_the_head(name: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert not BANNED_NAMES & set(name.split(".")), name
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{name} does not say what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{name}.{node.name} has {length} lines"


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_public_things_say_what_they_are(name: str, path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            trivial = isinstance(node, ast.FunctionDef) and len(node.body) <= 2
            assert ast.get_docstring(node) or trivial, f"{name}.{node.name} has no docstring"


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_no_module_holds_state(name: str, path: Path) -> None:
    """Module-level dicts and lists are tables: annotated Final, or written in capitals and never assigned into."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), f"{name} uses global"
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict | ast.List | ast.Set):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id != "__all__":
                    assert target.id.strip("_").isupper(), f"{name}.{target.id}"


def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    return listing.stdout.split()


def test_no_card_number_that_might_be_somebodys() -> None:
    """Card numbers in the repository are invented, and show it by a run of five zeros."""

    def luhn(digits: str) -> bool:
        numbers = [int(digit) for digit in digits[::-1]]
        return sum(numbers[0::2] + [sum(divmod(2 * n, 10)) for n in numbers[1::2]]) % 10 == 0

    for name in tracked():
        if name.endswith(".lock") or name.startswith("tests/vectors/") or not (ROOT / name).is_file():
            continue  # the vectors are hex, of messages whose cards were replaced
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        for number in re.findall(r"\b[3-6][0-9]{15,18}\b", text):
            assert "00000" in number or not luhn(number), f"{name}: {number[:6]}..."
