"""Writes the tables of the protocol pages from the code's own tables, so that the two cannot drift apart.

    python docs/tables.py            rewrite the tables in place
    python docs/tables.py --check    exit 1 if one of them is not what the code says

A page marks the place of a table with `<!-- table NAME -->` and `<!-- end NAME -->`; everything between is replaced.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from scenarios.story import vocabulary, wanted
from scenarios.story.casting import kinds
from scenarios.story.reading import found_stories, read_story
from scenarios.story.requirements import BOOK, read_requirements
from scenarios.story.shape import Keys
from scenarios.story.vocabulary import CAST, FAULTS, STEPS, STORY
from scenarios.story.wanted import EXPECT
from scenarios.world.faults import ELSEWHERE, KINDS
from scenarios.world.invariants import INVARIANTS
from switch.app.cli import app
from switch.issuer import request
from switch.wire.codes import RESPONSE_CODES
from switch.wire.dialects import BASE, NETWORK_ROWS, POS_ROWS, Rows
from switch.wire.transactions import ADMIN_MANDATORY, REVERSAL_MANDATORY, ROWS, Transaction

DOCS = Path(__file__).parent
PAGES = (
    "book.md", "commands.md", "protocol.md", "protocol-pos.md", "protocol-network.md", "reliability.md", "stories.md",
)  # fmt: skip


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fields(rows: Rows) -> str:
    """A dialect's fields: number, name, 名称, format."""
    heads = ("DE", "name", "名称", "format")
    return table(heads, ((str(de), en, zh, f"`{form}`") for de, (form, zh, en) in sorted(rows.items())))


def numbers(des: Iterable[int]) -> str:
    """DE numbers in a row."""
    return " ".join(map(str, sorted(des)))


def terminal_matrix() -> str:
    """The terminal's side of the transaction matrix."""
    heads = ("transaction", "交易", "MTI", "DE3", "DE25", "60.1", "mandatory", "reversed", "in totals")
    signs = {1: "debit", -1: "credit", 0: "-"}
    return table(
        heads,
        (
            (
                row.en, row.zh, row.mti, row.processing_code, row.condition, row.type_code, numbers(row.mandatory),
                "yes" if row.reversible else "no", signs[row.sign],
            )
            for row in ROWS
        ),
    )  # fmt: skip


def network_matrix() -> str:
    """The network's side of the transaction matrix."""
    return table(
        ("transaction", "交易", "MTI", "DE3", "DE25", "terminal's MTI", "terminal's DE3"),
        ((row.en, row.zh, *row.network_key, row.mti, row.processing_code) for row in ROWS),
    )


EFFECTS = {
    "none": "-",
    "debit": "the holder pays",
    "credit": "the holder is paid",
    "hold": "sets aside",
    "hold_more": "sets more aside",
    "capture": "pays the hold out",
    "undo": "undoes the original",
}
NAMED_BY = {"stan": "DE61 batch, STAN", "rrn": "DE37, DE61", "auth": "DE38, card", "terminal": "DE61, DE62", "": "-"}


def original(row: Transaction) -> str:
    """The kinds a row may speak of, and the fields that name the one it means."""
    return f"{', '.join(f'`{kind}`' for kind in row.of)} by {NAMED_BY[row.original]}" if row.of else "-"


def effect(row: Transaction) -> str:
    """What an approval does to the card."""
    if row.tells_balance:
        return "tells the balance"
    if row.new_pin:
        return "sets a new PIN"
    return EFFECTS[row.effect] + (", in points" if row.points and row.effect != "none" else "")


def unanswered(row: Transaction) -> str:
    """What the switch does when the other side stays silent."""
    if row.advice:
        return "stored, repeated"
    if row.confirmed_by:
        return f"told again by `{row.confirmed_by}`"
    return "reversed" if row.reversible else "told 98"


def matrix() -> str:
    """Every row of the transaction matrix: what names it on the terminal's link, and what it does."""
    key = ("MTI", "DE3", "DE25", "60.1")
    return table(
        ("row", "transaction", "交易", *key, "original", "effect", "no answer", "PIN", "verified"),
        (
            (
                f"`{row.name}`", row.en, row.zh, row.mti, row.processing_code, row.condition, row.type_code,
                original(row), effect(row), unanswered(row),
                "old and new" if row.new_pin else "may" if row.pin else "no",
                "**no**" if row.unverified else "yes",
            )
            for row in ROWS
        ),
    )  # fmt: skip


def matrix_fields() -> str:
    """Every row of the matrix, and what it must carry on either link."""
    lines = [
        (
            f"`{row.name}`", f"{row.mti} {row.processing_code}", numbers(row.mandatory),
            f"{row.network_mti} {row.network_processing_code}", numbers(request.MANDATORY[row.seen_as]),
        )
        for row in ROWS
    ]  # fmt: skip
    reversal = ("reversal (冲正)", "0400", numbers(REVERSAL_MANDATORY), "0420", numbers(request.REVERSAL_MANDATORY))
    return table(
        ("row", "terminal", "mandatory at the terminal", "network", "mandatory on the network"), [*lines, reversal]
    )


def administration() -> str:
    """Messages of a terminal that move no money, and its reversal."""
    rows = [(mti, code, numbers(des)) for (mti, code), des in ADMIN_MANDATORY.items()]
    return table(("MTI", "60.3", "mandatory"), [*rows, ("0400", "000", numbers(REVERSAL_MANDATORY))])


def responses() -> str:
    """DE39: code, meaning, 含义, action class, whose fault."""
    return table(
        ("code", "meaning", "含义", "action", "fault"),
        ((code, row.en, row.zh, row.action, row.fault) for code, row in RESPONSE_CODES.items()),
    )


def commands() -> Iterator[tuple[str, Any]]:
    """Every command of `shoudan` with all its words, those of other rooms and of groups among them."""
    whole = typer.Typer()
    whole.registered_commands, whole.registered_groups = [*app.registered_commands], [*app.registered_groups]
    for point in sorted(entry_points(group="shoudan.commands"), key=lambda point: point.name):
        point.load()(whole)
    yield from _under(get_command(whole), "")


def _under(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, one in command.commands.items():
        yield from _under(one, f"{words} {name}".strip())


def told(text: str) -> str:
    """A command's own words: paragraphs, and blocks whose lines stay lines."""
    blocks = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text.replace("\b\n", ""))):
        plain = re.sub(r"\[/?[a-z ]*\]", "", block)
        blocks.append(textwrap.fill(plain, 118) if plain == block else f"```\n{plain}\n```")
    return "\n\n".join(blocks)


def option(one: Any) -> tuple[str, str, str]:
    """An argument or option: how it is written, its default, what it means."""
    written = (
        ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts)) if one.opts[0][0] == "-" else "argument"
    )
    metavar = one.metavar if isinstance(one.metavar, str) else ""
    default = "needed" if one.required else str(one.default)
    if default in ("None", "False", "[]", "") or callable(one.default):
        default = ""
    if getattr(one, "envvar", None):
        default = f"`${one.envvar}`"
    meaning = " ".join(str(getattr(one, "help", "") or "").split()).replace("|", "\\|")
    return f"{written} {metavar}".strip().replace("|", "\\|"), default.replace(",", ", "), meaning


def reference() -> str:
    """All commands: what they say of themselves, and their options."""
    pages = []
    for name, command in commands():
        parts = [f"## `shoudan {name}`", told(command.help or "")]
        options = [option(one) for one in command.params if "--help" not in one.opts]
        if options:
            parts.append(table(("option", "default", "meaning"), options))
        pages.append("\n\n".join(parts))
    return "\n\n".join(pages)


PLACES = ("world", "processes", "storage", "fuzz", "tests")


def marks(where: Iterable[str]) -> list[str]:
    """One column a place: covered there or not."""
    covered = set(where)
    return ["yes" if place in covered else "-" for place in PLACES]


def faults() -> str:
    """The faults of the matrix by number, then those without one, and where each is covered."""
    rows: list[tuple[int, str, str, set[str]]] = []
    for kind in KINDS:
        rows += [(number, kind.en, f"`{kind.name}`", {"world", *kind.also}) for number in kind.numbers or (99,)]
    rows += [(number, en, "-", set(where)) for number, (en, where) in ELSEWHERE.items()]
    rows.sort(key=lambda row: row[:3])
    return table(
        ("no.", "fault", "kind", *PLACES),
        (
            (str(n) if n < 99 else "-", en, name, *marks(where))
            for n, en, name, where in sorted(rows, key=lambda r: r[:3])
        ),
    )


def invariants() -> str:
    """The invariants, and where each is covered."""
    return table(("id", "what must hold", *PLACES), ((one.name, one.en, *marks(one.where)) for one in INVARIANTS))


def book() -> str:
    """The rules of the book by chapter, each with its stories and its source."""
    requirements = read_requirements()
    proven: dict[str, list[str]] = {rule: [] for rule in requirements.rules}
    counts = dict.fromkeys(requirements.chapters, 0)
    for path in found_stories([BOOK]):
        story = read_story(path)
        counts[story.chapter] += 1
        for rule in story.rules:
            proven[rule].append(story.id)
    parts = []
    for chapter in requirements.chapters.values():
        rules = [rule for rule in requirements.rules.values() if rule.chapter == chapter.name]
        lines = ((rule.id, rule.zh, rule.en, rule.source, " ".join(proven[rule.id])) for rule in rules)
        heading = f"### {chapter.zh} {chapter.en}: {len(rules)} rules, {counts[chapter.name]} stories"
        parts.append(f"{heading}\n\n{table(('rule', '规则', '', 'source', 'stories'), lines)}")
    return "\n\n".join(parts)


def cast() -> str:
    """The kinds of terminals, cards and hosts that stories may cast."""
    parts = []
    for what, heads in (("terminals", ("terminal", "", "")), ("cards", ("card", "", ""))):
        parts.append(table(heads, ((f"`{name}`", one["zh"], one["en"]) for name, one in kinds(what).items())))
    parts.append("Hosts: " + ", ".join(f"`{name}`" for name in kinds("hosts")) + ".")
    return "\n\n".join(parts)


def stories() -> str:
    """Every key of a story file."""
    named = (*vars(wanted).values(), *vars(vocabulary).values())
    shapes = [STORY, CAST, *STEPS.verbs, EXPECT, *(shape for shape in named if isinstance(shape, Keys))]
    parts = []
    for shape in dict.fromkeys(shapes):
        if shape.called == "rules of hosts":
            continue
        rows = ((f"`{key.name}`", key.shape.words().replace("|", "\\|"), key.zh, key.en) for key in shape.keys)
        step = " (step)" if shape in STEPS.verbs else ""
        parts.append(f"### `{shape.called}`{step}\n\n{table(('key', 'holds', '', ''), rows)}")
    faults = ((f"`{name}`", zh, en) for name, (zh, en) in FAULTS.items())
    parts.append(f"### Faults\n\n{table(('what', '', ''), faults)}")
    return "\n\n".join(parts)


TABLES = {
    "book": book,
    "cast": cast,
    "stories": stories,
    "faults": faults,
    "invariants": invariants,
    "commands": reference,
    "pos fields": lambda: fields(BASE | POS_ROWS),
    "network fields": lambda: fields(BASE | NETWORK_ROWS),
    "terminal matrix": terminal_matrix,
    "network matrix": network_matrix,
    "matrix": matrix,
    "matrix fields": matrix_fields,
    "administration": administration,
    "responses": responses,
}


def filled(text: str) -> str:
    """A page's text with every marked table as the code has it."""

    def fresh(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- table {name} -->\n\n{TABLES[name]()}\n\n<!-- end {name} -->"

    return re.sub(r"<!-- table ([a-z ]+) -->.*?<!-- end \1 -->", fresh, text, flags=re.DOTALL)


def main() -> int:
    """Fill or check the pages; the number of stale ones is the exit code's truth."""
    stale = 0
    for name in PAGES:
        page = DOCS / name
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if before == after:
            continue
        stale += 1
        if "--check" in sys.argv[1:]:
            sys.stderr.write(f"docs/{name}: tables are not what the code says; run python docs/tables.py\n")
        else:
            page.write_text(after, encoding="utf-8")
    return int(stale > 0 and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
