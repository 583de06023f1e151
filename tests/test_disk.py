"""The durable store: one commit for many rows, one writer, one history, and no second chance."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from switch.clearing.schema import DAY, JOURNAL, SWITCH_TABLES, TERMINAL
from switch.net.disk import CHECKPOINT_COMMITS, Disk, StorageFailed, StoreInUse


def day(number: int, link: str = "cups") -> tuple[Any, ...]:
    return (number, 1, link, "201", "1028")


def terminal(number: int) -> tuple[Any, ...]:
    return (number, 1, "sign_in", "M", "T", "000001", "sm4", b"\x01", b"", b"")


def rows_in(path: Path, table: str = "day") -> list[int]:
    """What another process sees, through a connection of its own."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [number for (number,) in connection.execute(f"SELECT number FROM {table} ORDER BY number")]
    finally:
        connection.close()


def test_nothing_is_durable_before_the_commit(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "deep" / "journal.db", SWITCH_TABLES)
    for number in range(1, 6):
        disk.add(number, "day", day(number))
    assert (disk.pending, disk.durable, disk.commits) == (5, 0, 0)
    assert rows_in(disk.path) == []
    assert disk.commit() == 5
    assert (disk.pending, disk.durable, disk.commits, disk.rows) == (0, 5, 1, 5)
    assert rows_in(disk.path) == [1, 2, 3, 4, 5], "one transaction for all of them"
    disk.close()


def test_settings(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    pragma = {
        name: next(disk._connection.execute(f"PRAGMA {name}"))[0]
        for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
    }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3), "free of the WAL-reset bug"
    disk.close()


def test_history_over_all_tables_in_the_order_of_numbers(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    disk.add(1, "terminal", terminal(1))
    disk.add(2, "day", day(2))
    disk.add(3, "day", day(3, "core"))
    disk.commit()
    disk.add(4, "terminal", terminal(4))
    disk.add(5, "day", day(5))
    disk.commit()
    disk.close()
    again = Disk(tmp_path / "j.db", SWITCH_TABLES)
    assert again.durable == 5
    history = list(again.history())
    assert [(table, row[0]) for table, row in history] == [
        ("terminal", 1), ("day", 2), ("day", 3), ("terminal", 4), ("day", 5),
    ]  # fmt: skip
    assert history[0][1] == terminal(1)
    assert history[2][1] == day(3, "core")
    again.close()
    empty = Disk(tmp_path / "empty.db", SWITCH_TABLES)
    assert list(empty.history()) == []
    empty.close()


def test_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    disk = Disk(path, SWITCH_TABLES)
    with pytest.raises(StoreInUse, match=r"j\.db\.lock is held by another process"):
        Disk(path, SWITCH_TABLES)
    program = (
        "import sys; from pathlib import Path; from switch.net.disk import Disk, StoreInUse\n"
        "try: Disk(Path(sys.argv[1]), ())\n"
        "except StoreInUse: sys.exit(3)"
    )
    other = [sys.executable, "-c", program, str(path)]
    root = Path(__file__).parent.parent
    assert subprocess.run(other, check=False, cwd=root, timeout=30).returncode == 3
    disk.close()
    assert subprocess.run(other, check=False, cwd=root, timeout=30).returncode == 0
    Disk(path, SWITCH_TABLES).close()


def test_a_killed_writer_leaves_what_it_committed(tmp_path: Path) -> None:
    """kill -9 between two commits: the first is there, the second is not, and the lock is free."""
    path = tmp_path / "j.db"
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from switch.clearing.schema import SWITCH_TABLES\n"
        "from switch.net.disk import Disk\n"
        "disk = Disk(Path(sys.argv[1]), SWITCH_TABLES)\n"
        "for number in (1, 2, 3): disk.add(number, 'day', (number, 1, 'cups', '201', '1028'))\n"
        "disk.commit()\n"
        "disk.add(4, 'day', (4, 1, 'cups', '202', '1028'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", program, str(path)], check=False, cwd=root, timeout=30)
    disk = Disk(path, SWITCH_TABLES)
    assert [row[0] for _, row in disk.history()] == [1, 2, 3]
    assert disk.durable == 3
    disk.add(4, "day", day(4))
    assert disk.commit() == 4
    disk.close()


def test_a_log_that_grows_is_folded_in(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "j.db", (DAY,))
    wal = tmp_path / "j.db-wal"
    largest = 0
    for number in range(1, CHECKPOINT_COMMITS * 2 + 10):
        disk.add(number, "day", day(number))
        disk.commit()
        largest = max(largest, wal.stat().st_size)
    assert wal.stat().st_size <= largest
    assert largest < 5_000_000
    disk.close()
    assert not wal.exists() or wal.stat().st_size == 0
    assert len(rows_in(tmp_path / "j.db")) == CHECKPOINT_COMMITS * 2 + 9


class Failing(apsw.VFS):
    """A file system whose log cannot be synced from some moment on: the medium is full, or broken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken = False
        self.on = "sync"
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, vfs: Failing, name: Any, flags: list[int]) -> None:
        self.vfs = vfs
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        if self.vfs.broken and self.vfs.on == "sync":
            raise apsw.IOError
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self.vfs.broken and self.vfs.on == "write":
            raise apsw.FullError
        super().xWrite(data, offset)


@pytest.mark.parametrize("on", ["sync", "write"])
def test_a_commit_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    """The rows' fate is unknown: the error is not to be swallowed, and names no more than the file and its kind."""
    vfs = Failing(f"failing-{on}")
    vfs.on = on
    connect = apsw.Connection
    monkeypatch.setattr(apsw, "Connection", lambda path, flags: connect(path, flags, vfs=vfs.name))
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    disk.add(1, "day", day(1))
    assert disk.commit() == 1
    vfs.broken = True
    disk.add(2, "day", day(2))
    with pytest.raises(StorageFailed, match=r"^j\.db: (IOError|FullError)$"):
        disk.commit()
    assert disk.durable == 1
    with pytest.raises(StorageFailed):
        disk.close()
    vfs.broken = False
    monkeypatch.undo()
    again = Disk(tmp_path / "j.db", SWITCH_TABLES)
    found = [row[0] for _, row in again.history()]
    assert found in ([1], [1, 2]), "either way it is the store that says so"
    assert again.durable == found[-1]
    again.close()


def test_a_row_that_does_not_fit_its_table(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    disk.add(1, "day", (1, 1, None, "201", "1028"))
    with pytest.raises(StorageFailed, match=r"j\.db: row 1 does not fit: Expected `str`, got `null`"):
        disk.commit()
    disk.close()


def test_a_row_of_no_table_is_not_written(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    disk.take((1, "nowhere", (1, 1)))
    with pytest.raises(StorageFailed, match="row 1 does not fit: no table 'nowhere' is known"):
        disk.commit()
    disk.close()
    assert rows_in(disk.path) == []


def test_tables_are_views_as_the_schema_says(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    for table in SWITCH_TABLES:
        columns = [row[1] for row in disk._connection.execute(f"PRAGMA table_info({table.name})")]
        assert tuple(columns) == table.names
        assert columns[0] == "number"
    assert {"acquirer", "on_us", "entry_mode", "settlement_date", "batch"} <= set(JOURNAL.names)
    assert not {"pan", "track", "pin"} & {name for table in SWITCH_TABLES for name in table.names}
    assert TERMINAL.insert().count("?") == len(TERMINAL.names)
    disk.add(1, "day", day(1))
    disk.add(2, "terminal", terminal(2))
    disk.commit()
    seen = [disk._connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("day", "terminal", "journal")]
    assert seen == [[day(1)], [(*terminal(2)[:7], "AQ==", "", "")], []], "bytes in base64"
    disk.close()


def test_views_of_fewer_columns_are_made_anew(tmp_path: Path) -> None:
    """An earlier release's rows are shorter: what came later is empty in them."""
    old = DAY._replace(columns=DAY.columns[:4])
    disk = Disk(tmp_path / "j.db", (old,))
    disk.add(1, "day", day(1)[:4])
    disk.commit()
    disk.close()
    disk = Disk(tmp_path / "j.db", (DAY,))
    disk.add(2, "day", day(2))
    disk.commit()
    assert list(disk.table("day")) == [(1, 1, "cups", "201", ""), day(2)]
    assert disk._connection.execute("SELECT * FROM day").fetchall() == [(1, 1, "cups", "201", None), day(2)]
    disk.close()


def test_one_row_read_back(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    disk.add(1, "day", day(1))
    assert disk.row("day", 1) == day(1), "pending"
    disk.commit()
    disk.add(2, "day", day(2, "core"))
    assert (disk.row("day", 1), disk.row("day", 2)) == (day(1), day(2, "core"))
    assert disk.row("day", 3) is None
    assert disk.row("journal", 1) is None, "another table's"
    disk._connection.execute("UPDATE commits SET rows = 'torn'")
    with pytest.raises(StorageFailed):
        disk.row("day", 1)
    disk._connection.execute("DROP TABLE commits")
    with pytest.raises(StorageFailed):
        disk.row("day", 1)
    disk.close()
