"""`shoudan clearing verify`: a book read from outside, each commit against its link, the whole against its witness."""

import json
from pathlib import Path
from typing import Annotated, Any

import apsw
import typer

from switch.app.config import ConfigError
from switch.app.journals import holds, journals_of, open_book
from switch.net.chain import COMMITS, Checked
from switch.net.witness import BrokenChain, read_witness, witness_path


def verify_book(book: Path, witness: Path | None = None) -> dict[str, Any]:
    """What there is to say of a journal or ledger: `sound`, `fault` (names the row), `rows`, `last` (row) and
    its `link` (hexadecimal), `witness` (the row it has seen, None without one).

    The witness is looked for beside the book where no other is named. Raises typer.BadParameter for a file that is no
    such book.
    """
    try:
        connection = open_book(book)
        chained = holds(connection, COMMITS.name)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    except apsw.Error as error:
        raise typer.BadParameter(f"{book}: not a book ({error})") from None
    if not chained:
        raise typer.BadParameter(f"{book}: no book with a chain: a journal or ledger of this release is needed")
    found: dict[str, Any] = {"sound": True, "fault": "", "rows": 0, "last": 0, "link": "", "witness": None}
    checked: Checked | None = None
    try:
        seen = read_witness(witness or witness_path(book))
        found["witness"] = seen.number if seen else None
        checked = Checked(connection, seen)
        for _ in checked:
            pass
    except (BrokenChain, apsw.Error) as error:
        found["sound"], found["fault"] = False, str(error)
    if checked is not None:
        found.update(rows=checked.rows, last=checked.last, link=checked.link.hex())
    return found


def verify_command(
    journal: Annotated[Path, typer.Option(help="The switch's journal, or an issuers' ledger.")],
    witness: Annotated[
        Path | None, typer.Option(help="A witness that stands elsewhere; else the one beside the book.")
    ] = None,
    json_to: Annotated[
        str, typer.Option("--json", help="Write the result as JSON to this file, or - for stdout.")
    ] = "",
) -> None:
    """Check that every row of a journal chains to the one before, and that none is missing at its end.

    The process that writes it may be running. Exits 0 for a sound book, 1 for one that is not, naming the row.
    """
    books = journals_of(journal)
    if witness is not None and len(books) > 1:
        raise typer.BadParameter(f"--witness: {journal.name} has {len(books)} files, name one of them")
    results = {book: verify_book(book, witness) for book in books}
    sound = all(found["sound"] for found in results.values())
    if json_to:
        whole = {"sound": sound, "books": {book.name: found for book, found in results.items()}}
        text = json.dumps(results[journal] if len(books) == 1 else whole, indent=1)
        if json_to == "-":
            typer.echo(text)
        else:
            Path(json_to).write_text(text + "\n", encoding="utf-8")
    for book, found in results.items() if json_to != "-" else ():
        name = f"{book.name}: " if len(books) > 1 else ""
        seen = "no witness 无见证" if found["witness"] is None else f"witness at row {found['witness']:,}"
        verdict = "sound 完整" if found["sound"] else f"NOT sound 不完整: {found['fault']}"
        chained = f"{found['rows']:,} rows chained to row {found['last']:,} (link {found['link']})"
        typer.echo(f"{name}{chained}, {seen}: {verdict}")
    raise typer.Exit(0 if sound else 1)
