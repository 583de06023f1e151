"""A hand in a book's file, as somebody with a tool of SQLite's has it: see docs/tutorials/1-a-payment-day.md."""

from pathlib import Path
from typing import Any

import apsw

from switch.clearing.schema import Table

WHERE = "WHERE {number} BETWEEN number - posts + 1 AND number"
PLACE = "(SELECT fullkey{tail} FROM json_each(rows) WHERE value ->> 0 = {number})"


def taken_out(number: int) -> str:
    """The statement that takes a row out."""
    return f"UPDATE commits SET rows = json_remove(rows, {PLACE.format(tail='', number=number)}) " + WHERE.format(
        number=number
    )


def changed(table: Table, number: int, column: str, value: Any) -> str:
    """The statement that gives a row's column another value, an int or a text."""
    tail = f" || '[2][{table.names.index(column)}]'"
    place = PLACE.format(tail=tail, number=number)
    shown = f"'{value}'" if isinstance(value, str) else value
    return f"UPDATE commits SET rows = json_replace(rows, {place}, {shown}) " + WHERE.format(number=number)


def do(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def columns(path: Path, names: str, table: str, where: str = "1") -> list[tuple[Any, ...]]:
    """Columns of a table's rows, through its view."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(f"SELECT {names} FROM {table} WHERE {where} ORDER BY number").fetchall()
    finally:
        connection.close()
