"""The files of books, and the rows in them.

A journal is one file, or one for each worker beside each other, `switch-1of2.db` and `switch-2of2.db`.

A merchant's rows stand in the file of the worker it belongs to, so the number of workers is part of the name: with
another number the merchants would belong to others, who know nothing of their batches.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from switch.app.config import ConfigError
from switch.clearing.schema import Table
from switch.engine.share import Share
from switch.net.chain import COMMITS, numbers_of, rows_of
from switch.net.witness import BrokenChain


def journal_of(path: Path, share: Share) -> Path:
    """The file that a worker writes; `path` itself where there is one process only."""
    return path if share.alone else path.with_name(f"{path.stem}-{share.place + 1}of{share.of}{path.suffix}")


def journals_of(path: Path) -> list[Path]:
    """The files of a journal, to be read as one; `path` itself where it is there, or nothing else is. Raises
    ConfigError where one of several is missing."""
    found = {} if path.is_file() else _parts(path)
    if not found:
        return [path]
    of = max(found)
    wanted = [journal_of(path, Share(place, of)) for place in range(of)]
    for one in wanted:
        if one not in found[of]:
            raise ConfigError(f"{one}: no such file, and the others of its workers are there")
    return wanted


def refuse_others(path: Path, of: int) -> None:
    """ConfigError where there is a journal of another number of workers."""
    there = {1} if path.is_file() else set()
    for other in (there | _parts(path).keys()) - {of}:
        raise ConfigError(
            f"{path}: the journal there is of {other} worker{'s' if other > 1 else ''}, not of {of}: "
            f"start with --workers {other}, or name another journal"
        )


def _parts(path: Path) -> dict[int, list[Path]]:
    """The workers' files of a journal, by the number of workers."""
    found: dict[int, list[Path]] = {}
    for one in path.parent.glob(f"{path.stem}-*of*{path.suffix}"):
        match = re.fullmatch(rf"{re.escape(path.stem)}-[1-9]\d*of([1-9]\d*){re.escape(path.suffix)}", one.name)
        if match:
            found.setdefault(int(match[1]), []).append(one)
    return found


def open_book(path: Path) -> apsw.Connection:
    """A book to read from, also while its process runs. Raises ConfigError, apsw.Error."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def holds(book: apsw.Connection, table: str) -> bool:
    """Whether a book has a table, or a view, of that name. Raises apsw.Error."""
    return book.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def rows_in(path: Path, table: Table) -> Iterator[tuple[Any, ...]]:
    """The rows of a table in the order of their numbers, one at a time: of a journal or ledger, or of the terminals'
    own book. Raises ConfigError for what is no such book."""
    try:
        book = open_book(path)
        if holds(book, COMMITS.name):
            book.execute(f"SELECT 1 FROM {table.name} LIMIT 0")  # a ledger is no journal
            yield from (row for _, row in rows_of(book, table.name))
        else:
            yield from book.execute(table.select())
    except (apsw.Error, BrokenChain) as error:
        raise ConfigError(f"{path}: not a {table.name} book ({error})") from None


def numbers_in(path: Path) -> list[int]:
    """The numbers of all rows of a journal or ledger. Raises ConfigError for what is none."""
    try:
        return list(numbers_of(open_book(path)))
    except (apsw.Error, BrokenChain) as error:
        raise ConfigError(f"{path}: not a book of commits ({error})") from None
