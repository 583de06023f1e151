"""Writes the tables of the protocol pages from the code's own tables, so that the two cannot drift apart.

    python docs/tables.py            rewrite the tables in place
    python docs/tables.py --check    exit 1 if one of them is not what the code says

A page marks the place of a table with `<!-- table NAME -->` and `<!-- end NAME -->`; everything between is replaced.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from switch.wire.codes import RESPONSE_CODES
from switch.wire.dialects import BASE, NETWORK_ROWS, POS_ROWS, Rows
from switch.wire.transactions import ADMIN_MANDATORY, REVERSAL_MANDATORY, ROWS

DOCS = Path(__file__).parent
PAGES = ("protocol-pos.md", "protocol-network.md")


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
    return " ".join(map(str, des))


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
        (
            (row.en, row.zh, row.network_mti, row.network_processing_code, row.condition, row.mti, row.processing_code)
            for row in ROWS
        ),
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


TABLES = {
    "pos fields": lambda: fields(BASE | POS_ROWS),
    "network fields": lambda: fields(BASE | NETWORK_ROWS),
    "terminal matrix": terminal_matrix,
    "network matrix": network_matrix,
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
