"""Tables that people write: CSV with a header line in UTF-8, read strictly, every fault with its line.

Nothing is loaded by halves. A table with a fault is refused as a whole, and up to FAULTS_MAX of its faults are named,
so that one look mends them all. A reason repeats no cell as it stands: what is shown went through `shown`.
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from switch.wire.errors import WireError
from switch.wire.redact import scrub

FAULTS_MAX: Final = 20
_SHOWN_MAX: Final = 24

T = TypeVar("T")


class Fault(NamedTuple):
    """What is wrong in one line (counted from 1; 0 where it is the whole file)."""

    line: int
    reason: str


class TableError(WireError):
    """A table that cannot be used: `faults` in the order of their lines. Its text has one line a fault."""

    def __init__(self, path: str, faults: Sequence[Fault]) -> None:
        super().__init__(path, None, faults[0].reason)
        self.faults = tuple(faults)
        self.args = ("\n".join(_told(path, fault) for fault in self.faults),)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where, self.faults)


def _told(path: str, fault: Fault) -> str:
    return f"{path}: line {fault.line}: {fault.reason}" if fault.line else f"{path}: {fault.reason}"


class Faults:
    """The faults of one table, collected; `add` raises TableError when there are FAULTS_MAX of them."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._found: list[Fault] = []

    def add(self, line: int, reason: str) -> None:
        """Note a fault."""
        self._found.append(Fault(line, reason))
        if len(self._found) >= FAULTS_MAX:
            self._found.append(Fault(0, f"reading ended after {FAULTS_MAX} faults"))
            self.end()

    def end(self) -> None:
        """Raise TableError if anything was wrong."""
        if self._found:
            raise TableError(self._path, self._found)

    def fail(self, line: int, reason: str) -> NoReturn:
        """Raise TableError at once: reading on makes no sense."""
        raise TableError(self._path, [*self._found, Fault(line, reason)])


class Column(NamedTuple):
    """A column: `read` makes a value of a cell without its outer spaces (ValueError tells what a cell should be).

    `default` is the value where the column is absent or the cell empty; `required` columns have none. No two rows have
    the same value of a `unique` column.
    """

    name: str
    read: Callable[[str], Any] = str
    default: Any = ""
    required: bool = False
    unique: bool = False


def shown(cell: str) -> str:
    """A cell as a reason may show it: masked, and not too long."""
    text = scrub(cell)
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "...")


def read_table(path: str | Path, columns: Sequence[Column], make: Callable[..., T]) -> list[T]:
    """The rows of a file, each `make(line=..., **values)`, which may raise ValueError as well. Raises TableError."""
    try:
        # Read as it is parsed: a province's list is 70 MB, and would be five times that in memory.
        with Path(path).open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark
            return _parsed(file, str(path), columns, make)
    except OSError as error:
        Faults(path).fail(0, error.strerror or "cannot be read")
    except UnicodeDecodeError:
        Faults(path).fail(_broken_line(Path(path).read_bytes()), "not UTF-8: save the table as CSV in UTF-8")


def _broken_line(data: bytes) -> int:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return data.count(b"\n", 0, error.start) + 1
    return 0


def _parsed(lines: Iterable[str], where: str, columns: Sequence[Column], make: Callable[..., T]) -> list[T]:
    faults = Faults(where)
    reader = csv.reader(lines, strict=True)
    rows: list[T] = []
    known: dict[str, Column] = {column.name: column for column in columns}
    first_seen: dict[str, dict[Any, int]] = {column.name: {} for column in columns if column.unique}
    header: list[Column] = []
    line = 1
    try:
        for cells in reader:
            at, line = line, reader.line_num + 1
            if not any(cells):
                continue
            if not header:
                header = _header(faults, at, cells, known)
                continue
            values = _values(faults, at, cells, header, first_seen)
            if values is None:
                continue
            try:
                rows.append(make(line=at, **{c.name: c.default for c in columns if c.name not in values}, **values))
            except ValueError as error:
                faults.add(at, str(error))
    except csv.Error as error:
        faults.fail(line, f"not CSV: {error}")
    if not header:
        faults.fail(0, "has no header line")
    faults.end()
    return rows


def _header(faults: Faults, line: int, cells: list[str], known: dict[str, Column]) -> list[Column]:
    names = [cell.strip() for cell in cells]
    wrong = [f"column {shown(name)} is not known" for name in names if name not in known]
    wrong += [
        f"column {name!r} stands here twice" for name in sorted({n for n in names if names.count(n) > 1} & set(known))
    ]
    wrong += [f"column {c.name!r} is missing" for c in known.values() if c.required and c.name not in names]
    for reason in wrong:
        faults.add(line, reason)
    if wrong:
        faults.fail(line, f"the columns are {', '.join(known)}")
    return [known[name] for name in names]


def _values(
    faults: Faults, line: int, cells: list[str], header: list[Column], first_seen: dict[str, dict[Any, int]]
) -> dict[str, Any] | None:
    """The values of one row by column; None where something is wrong with them."""
    if len(cells) != len(header):
        faults.add(line, f"has {len(cells)} cells, the header {len(header)}")
        return None
    values: dict[str, Any] = {}
    whole = True
    for column, raw in zip(header, cells, strict=True):
        cell = raw.strip()
        if not cell and not column.required:
            values[column.name] = column.default
            continue
        try:
            if not cell:
                raise ValueError("is missing")
            value = values[column.name] = column.read(cell)
        except ValueError as error:
            faults.add(line, f"{column.name}: {error}")
            whole = False
            continue
        if column.unique:
            first = first_seen[column.name].setdefault(value, line)
            if first != line:
                faults.add(line, f"{column.name}: the same as in line {first}")
                whole = False
    return values if whole else None
