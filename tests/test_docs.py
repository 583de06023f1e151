"""The documentation against the code: tables are fresh, every command, option and configuration key is told."""

import re
import subprocess
import sys
import tomllib
import types
import typing
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.main import get_command

from switch.app.cli import app
from switch.app.config import CentreConfig, SwitchConfig
from switch.app.kat import KINDS
from switch.issuer.rules import Rule
from switch.wire.profile import NetworkProfile, PosProfile
from switch.wire.roster import CARD_COLUMNS, TERMINAL_COLUMNS
from switch.wire.transactions import ROWS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("README*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """A page from a heading to the next one of its level."""
    level = heading.split(" ", 1)[0]
    _, found, rest = page.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_the_generated_tables_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, "docs/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_matrix_page_names_every_row_twice() -> None:
    page = text("protocol.md")
    for row in ROWS:
        assert len(re.findall(rf"^\| `{row.name}` \|", page, re.MULTILINE)) == 2, row.name


def test_the_tutorial_names_every_kind_of_known_answer() -> None:
    page = section(text("tutorials/2-read-a-message.md"), "## Known answers (已知答案测试)")
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []


# commands


def commands() -> Iterator[tuple[str, list[str]]]:
    """(name, options) of every command of `shoudan`, those of groups by all their words."""
    whole = typer.Typer()
    whole.registered_commands, whole.registered_groups = [*app.registered_commands], [*app.registered_groups]
    for point in entry_points(group="shoudan.commands"):
        point.load()(whole)
    yield from _under(get_command(whole), "")


def _under(command: Any, words: str) -> Iterator[tuple[str, list[str]]]:
    inside = getattr(command, "commands", None)
    if inside is None:
        yield words, [name for one in command.params for name in one.opts if name.startswith("--") and name != "--help"]
        return
    for name, one in inside.items():
        yield from _under(one, f"{words} {name}".strip())


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    by_hand = "".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "commands.md")
    assert re.search(rf"shoudan {name.split()[0]}\b", by_hand)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    told = section(text("commands.md"), f"## `shoudan {name}`")
    assert not [option for option in COMMANDS[name] if f"`{option}`" not in told]


# configuration


def inner(kind: Any) -> Iterator[Any]:
    """The types a type is made of: `TlsConfig | None` is TlsConfig, `list[X]` is X."""
    parts = typing.get_args(kind)
    if not parts:
        yield kind
    elif typing.get_origin(kind) in (typing.Union, types.UnionType, list, tuple, dict):
        for part in parts:
            yield from inner(part)


def keys(kind: type[msgspec.Struct]) -> Iterator[str]:
    """The keys of a section and of the sections in it, by their own names."""
    for field in msgspec.structs.fields(kind):
        yield field.encode_name
        for part in inner(field.type):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                yield from keys(part)


def in_code(page: str) -> set[str]:
    """Every word in code type, taken apart at its dots."""
    return set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))


@pytest.mark.parametrize(
    ("kind", "heading"),
    [
        (SwitchConfig, "## switch.toml"),
        (CentreConfig, "## centre.toml"),
        (Rule, "### Rules (挡板规则)"),
        (PosProfile, "## Profiles (报文方言)"),
        (NetworkProfile, "## Profiles (报文方言)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_configuration_key_is_documented(kind: type[msgspec.Struct], heading: str) -> None:
    page = text("configuration.md")
    told = in_code(section(page, heading) + section(page, "## TLS"))
    assert not [key for key in keys(kind) if key not in told]


@pytest.mark.parametrize(("columns", "file"), [(TERMINAL_COLUMNS, "terminals"), (CARD_COLUMNS, "cards")])
def test_every_column_of_the_lists_is_documented(columns: tuple[Any, ...], file: str) -> None:
    told = section(text("tutorials/4-my-terminals-my-host.md"), "## The lists")
    assert not [column.name for column in columns if f"`{column.name}`" not in told], file


def test_every_shipped_profile_is_documented() -> None:
    page = text("configuration.md")
    for file in (ROOT / "switch/wire/profiles").glob("*.toml"):
        assert f"`{file.stem}`" in page, file.stem
        tomllib.loads(file.read_text(encoding="utf-8"))


# links


def anchor(heading: str) -> str:
    """What a heading becomes in an address."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        name, _, part = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        if part:
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert part in {anchor(heading) for heading in headings}, target
