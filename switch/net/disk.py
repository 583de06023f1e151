"""The durable store: SQLite with one writer, one transaction for many rows, and no second chance after an error.

A commit that raised is neither stored nor not stored: SQLite's log may bring its rows back after a restart. So any
error ends the process (`StorageFailed` is never caught below `serve`), and the recovered store decides.
"""

import fcntl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import apsw
from msgspec import ValidationError

from switch.clearing.schema import Table
from switch.net.chain import COMMITS, Checked, Numbered, Posted, committed, gaps_in, row_at, rows_of, views
from switch.net.witness import START, BrokenChain, WitnessFile, read_witness, refuse_short, witness_path
from switch.timings import LOCAL_BOUNDS_S, SIZE_BOUNDS, Timings

CHECKPOINT_COMMITS = 512
CHECKPOINT_ROWS = 16_384
"""Whichever comes first: large batches fill the log sooner, and a long log makes a long stop."""

PRAGMAS: tuple[str, ...] = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=0",
    "PRAGMA mmap_size=0",
)


_ALONE: Final = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
"""One thread alone uses the connection: nothing is locked for each value that is bound (0.3 us a row)."""


class StorageFailed(Exception):
    """The store cannot be trusted any more: stop, restart, recover."""


class StoreInUse(Exception):
    """Another process writes to this store."""


class Disk:
    """Rows appended in memory, made durable by `commit`. `durable` is the highest number known to be on the disk.

    `take` takes a row (its number, its table, itself) for the next commit; `pending` are those taken and not yet
    durable; `gaps` must stay 0.

    `path` is the database file; its lock file and its witness stand beside it. What is taken between two commits
    becomes one row of it, chained to the one before (`switch.net.chain`), and `tables` are its views: nothing is to be
    committed before `check`, or a whole `history`, found the chain unbroken.

    Raises StoreInUse, and BrokenChain where the book is shorter than its witness.
    """

    def __init__(self, path: Path, tables: Sequence[Table]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.durable = 0
        self.commits = 0
        self.rows = 0
        self._gaps = 0
        self.commit_times = Timings(LOCAL_BOUNDS_S)
        self.batches = Timings(SIZE_BOUNDS)
        self._tables = frozenset(table.name for table in tables)
        self._lock = _lock(path.with_name(path.name + ".lock"))
        self._insert = COMMITS.insert()
        self._taken: list[Posted] = []
        self.take = self._taken.append  # nothing else is done before the commit, and there in one go (0.4 us a row)
        self._checkpoint_rows = CHECKPOINT_ROWS
        self._connection = apsw.Connection(str(path), flags=_ALONE)
        for statement in PRAGMAS:
            self._connection.execute(statement)
        try:
            self._prepare(tables)
            self.durable, self._link = self._last()
        except BrokenChain:
            self._connection.close()
            self._lock.close()
            raise
        self._witness = WitnessFile(witness_path(path))

    def _prepare(self, tables: Sequence[Table]) -> None:
        """Make what is absent, and the views anew where an earlier release had fewer columns."""
        connection = self._connection
        connection.execute(COMMITS.create())
        schema = connection.execute("SELECT name, type, sql FROM sqlite_master")
        known = {name: (kind, statement) for name, kind, statement in schema}
        for name, statement in views(tables):
            kind, present = known.get(name, ("", ""))
            if kind == "table":
                raise BrokenChain(f"{self.path.name} has a table {name}: an earlier release's, which kept rows singly")
            if present != statement:
                connection.execute(f"DROP VIEW IF EXISTS {name}")
                connection.execute(statement)

    def _last(self) -> tuple[int, bytes]:
        """The last commit's number and link; refuses a book shorter than its witness before anything reads it."""
        statement = f"SELECT number, link FROM {COMMITS.name} ORDER BY number DESC LIMIT 1"
        number, link = self._connection.execute(statement).fetchone() or (0, START)
        refuse_short(self.path.name, number, read_witness(witness_path(self.path)))
        return number, link

    @property
    def pending(self) -> int:
        """How many rows wait for the next commit."""
        return len(self._taken)

    @property
    def gaps(self) -> int:
        """How many rows' numbers did not follow the one before."""
        return self._gaps + gaps_in(self.durable, self._taken)

    def add(self, number: int, table: str, row: tuple[Any, ...]) -> None:
        """Take a row for the next commit. KeyError for a table that is none of this store's."""
        if table not in self._tables:
            raise KeyError(table)
        self.take((number, table, row))

    def commit(self) -> int:
        """Make all rows taken so far durable, in one transaction; returns the highest durable number.

        Raises StorageFailed on any storage error.
        """
        began, taken = time.perf_counter(), self._taken
        if not taken:
            return self.durable
        try:
            gaps = gaps_in(self.durable, taken)
            commit = committed(self._link, taken)
            connection = self._connection
            connection.execute(self._insert, commit)  # a statement alone is a transaction
            self.commits += 1
            self.rows += commit.posts
            self._gaps += gaps
            self.durable, self._link = commit.number, commit.link
            self._witness.note(commit.number, commit.link)
            self.commit_times.add(time.perf_counter() - began)
            self.batches.add(commit.posts)
            taken.clear()
            if self.commits % CHECKPOINT_COMMITS == 0 or self.rows >= self._checkpoint_rows:
                self._checkpoint()
        except ValidationError as error:
            raise StorageFailed(f"{self.path.name}: row {taken[-1][0]} does not fit: {error}") from None
        except (apsw.Error, OSError) as error:
            raise StorageFailed(f"{self.path.name}: {type(error).__name__}") from None
        return self.durable

    def _checkpoint(self) -> None:
        """From this connection only, between transactions: nobody else ever checkpoints."""
        self._checkpoint_rows = self.rows + CHECKPOINT_ROWS
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def history(self) -> Iterator[Numbered]:
        """All rows of all tables as (table, row), in the order of their numbers.

        They are checked against the chain and the witness as they are read: raises BrokenChain.
        """
        return iter(Checked(self._connection, read_witness(witness_path(self.path))))

    def table(self, name: str) -> Iterator[tuple[Any, ...]]:
        """The rows of one table; against the chain they are not checked again."""
        return (row for _, row in rows_of(self._connection, name))

    def row(self, table: str, number: int) -> tuple[Any, ...] | None:
        """One row of a table, committed or pending. Raises StorageFailed."""
        for posted, where, row in self._taken:
            if posted == number:
                return row if where == table else None
        try:
            return row_at(self._connection, table, number)
        except (apsw.Error, BrokenChain) as error:
            raise StorageFailed(f"{self.path.name}: {type(error).__name__}") from None

    def check(self) -> None:
        """Read the whole book against its chain and its witness. Raises BrokenChain."""
        for _ in self.history():
            pass

    def close(self) -> None:
        """Fold the log into the database file and let go of it."""
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._connection.close()
            self._witness.close()
        except (apsw.Error, OSError) as error:
            raise StorageFailed(f"{self.path.name}: {type(error).__name__}") from None
        finally:
            self._lock.close()


def _lock(path: Path) -> IO[str]:
    """Hold an exclusive lock on a file as long as the process lives."""
    handle = path.open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise StoreInUse(f"{path.name} is held by another process") from None
    return handle
