"""The durable store: SQLite with one writer, one transaction for many rows, and no second chance after an error.

A commit that raised is neither stored nor not stored: SQLite's log may bring its rows back after a restart. So any
error ends the process (`StorageFailed` is never caught below `serve`), and the recovered store decides.
"""

import fcntl
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import apsw

from switch.clearing.schema import Table
from switch.net.chain import (
    CHAIN,
    LINK_BYTES,
    START,
    BrokenChain,
    Checked,
    Numbered,
    Posted,
    WitnessFile,
    chained,
    in_order,
    read_witness,
    refuse_short,
    witness_path,
)
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

    `path` is the database file; its lock file and its witness stand beside it. `tables` are created where they are
    absent, and given the columns that a file of an earlier release lacks. Every row chains to the one before
    (`switch.net.chain`): nothing is to be committed before `check`, or a whole `history`, found the chain unbroken.

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
        self._tables = tuple(tables)
        self._lock = _lock(path.with_name(path.name + ".lock"))
        self._chain = CHAIN.insert()
        self._inserts = {table.name: table.insert() for table in tables}
        self._taken: list[Posted] = []
        self.take = self._taken.append  # nothing else is done before the commit, and there in one go (0.4 us a row)
        self._checkpoint_rows = CHECKPOINT_ROWS
        self._connection = apsw.Connection(str(path), flags=_ALONE)
        for statement in (*PRAGMAS, *(table.create() for table in (*tables, CHAIN))):
            self._connection.execute(statement)
        for table in tables:
            present = [column[1] for column in self._connection.execute(f"PRAGMA table_info({table.name})")]
            for statement in table.additions(present):
                self._connection.execute(statement)
        self.durable = max((self._highest(table.name) for table in tables), default=0)
        try:
            self._link = self._last_link()
        except BrokenChain:
            self._connection.close()
            self._lock.close()
            raise
        self._witness = WitnessFile(witness_path(path))

    def _highest(self, name: str) -> int:
        cursor = self._connection.execute(f"SELECT coalesce(max(number), 0) FROM {name}")
        return int(next(cursor)[0])

    def _last_link(self) -> bytes:
        """The link to chain to; refuses a book shorter than its witness before anything reads it."""
        refuse_short(self.path.name, self.durable, read_witness(witness_path(self.path)))
        last = self._connection.execute("SELECT links FROM chain ORDER BY number DESC LIMIT 1").fetchone()
        return last[0][-LINK_BYTES:] if last else START

    @property
    def pending(self) -> int:
        """How many rows wait for the next commit."""
        return len(self._taken)

    @property
    def gaps(self) -> int:
        """How many rows' numbers did not follow the one before."""
        return self._gaps + self._sorted()[1]

    def add(self, number: int, table: str, row: tuple[Any, ...]) -> None:
        """Take a row for the next commit. KeyError for a table that is none of this store's."""
        if table not in self._inserts:
            raise KeyError(table)
        self.take((number, table, row))

    def commit(self) -> int:
        """Make all rows taken so far durable, in one transaction; returns the highest durable number.

        Raises StorageFailed on any storage error.
        """
        began, taken = time.perf_counter(), self._taken
        tables, gaps = self._sorted()
        try:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            for table, rows in tables.items():
                connection.executemany(self._inserts[table], rows)
            links = chained(self._link, taken) if taken else []
            connection.executemany(self._chain, links)
            connection.execute("COMMIT")
            self.commits += 1
            self.rows += len(taken)
            self._gaps += gaps
            if links:
                self.durable = taken[-1][0]
                self._link = links[-1][2][-LINK_BYTES:]
                self._witness.note(links[-1][0], self._link)
            self.commit_times.add(time.perf_counter() - began)
            self.batches.add(len(taken))
            taken.clear()
            if self.commits % CHECKPOINT_COMMITS == 0 or self.rows >= self._checkpoint_rows:
                self._checkpoint()
        except (apsw.Error, OSError) as error:
            raise StorageFailed(f"{self.path.name}: {type(error).__name__}") from None
        return self.durable

    def _sorted(self) -> tuple[dict[str, list[tuple[Any, ...]]], int]:
        """The rows taken by table, and how many of their numbers do not follow the one before."""
        tables, before, gaps = defaultdict[str, list[tuple[Any, ...]]](list), self.durable, 0
        for number, table, row in self._taken:
            tables[table].append(row)
            if number != before + 1:
                gaps += 1
            before = number
        return tables, gaps

    def _checkpoint(self) -> None:
        """From this connection only, between transactions: nobody else ever checkpoints."""
        self._checkpoint_rows = self.rows + CHECKPOINT_ROWS
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def history(self, *only: str) -> Iterator[Numbered]:
        """All rows of all tables, or of those named, as (table, row), in the order of their numbers.

        All of them are checked against the chain and the witness as they are read: raises BrokenChain.
        """
        names = [table.name for table in self._tables if not only or table.name in only]
        if only:
            return in_order(self._connection, names)
        return iter(Checked(self._connection, names, read_witness(witness_path(self.path))))

    def row(self, table: str, number: int) -> tuple[Any, ...] | None:
        """One row of a table, committed or pending. Raises StorageFailed."""
        for posted, _, row in self._taken:
            if posted == number:
                return row
        try:
            cursor = self._connection.execute(f"SELECT * FROM {table} WHERE number = ?", (number,))
            return next(cursor, None)
        except apsw.Error as error:
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
