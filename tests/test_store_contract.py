"""One contract for both makes of the durable store: SQLite on a disk, and the simulated one."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from scenarios.world.store import Died, Platter, Store, frames
from switch.clearing.schema import SWITCH_TABLES
from switch.net.chain import BrokenChain
from switch.net.disk import Disk, StorageFailed, StoreInUse

Open = Callable[[], Any]


def day(number: int, link: str = "cups") -> tuple[Any, ...]:
    return (number, 1, link, "201", "1028")


def sign_in(number: int) -> tuple[Any, ...]:
    return (number, 1, "sign_in", "M", "T", "000001", "sm4", b"\x01", b"", b"")


@pytest.fixture(params=["sqlite", "simulated"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the store, and after a close the same one again."""
    if request.param == "sqlite":
        return lambda: Disk(tmp_path / "journal.db", SWITCH_TABLES)
    platter = Platter()
    return lambda: Store(platter, SWITCH_TABLES)


def test_nothing_is_durable_before_the_commit(again: Open) -> None:
    store = again()
    for number in (1, 2, 3):
        store.add(number, "day", day(number))
    assert (store.pending, store.durable, store.commits, store.rows) == (3, 0, 0, 0)
    assert list(store.history()) == []
    assert store.commit() == 3
    assert (store.pending, store.durable, store.commits, store.rows) == (0, 3, 1, 3)
    store.close()


def test_history_is_all_rows_in_the_order_of_their_numbers(again: Open) -> None:
    store = again()
    store.add(1, "terminal", sign_in(1))
    store.add(2, "day", day(2))
    store.commit()
    store.add(3, "terminal", sign_in(3))
    store.add(4, "day", day(4, "core"))
    store.commit()
    store.close()
    store = again()
    assert store.durable == 4
    assert list(store.history()) == [
        ("terminal", sign_in(1)), ("day", day(2)), ("terminal", sign_in(3)), ("day", day(4, "core")),
    ]  # fmt: skip
    store.add(5, "day", day(5))
    assert store.commit() == 5
    assert store.gaps == 0
    store.close()


def test_one_process_at_a_time(again: Open) -> None:
    store = again()
    with pytest.raises(StoreInUse):
        again()
    store.close()
    again().close()


def test_a_gap_is_counted_and_an_unknown_table_refused(again: Open) -> None:
    store = again()
    store.add(1, "day", day(1))
    store.add(3, "day", day(3))
    assert store.gaps == 1
    with pytest.raises(KeyError):
        store.add(4, "nowhere", (4,))
    store.close()


# what each make does when it fails: the same to whoever uses it


def failing_sqlite(path: Path) -> tuple[Disk, Open]:
    disk = Disk(path, SWITCH_TABLES)
    disk.add(1, "day", day(1))
    disk.commit()
    disk._connection.execute("PRAGMA query_only=1")  # every write fails from here on
    return disk, lambda: Disk(path, SWITCH_TABLES)


@pytest.mark.parametrize("trouble", ["sqlite", "eio", "enospc"])
def test_a_commit_that_fails_says_so_and_leaves_all_or_nothing(trouble: str, tmp_path: Path) -> None:
    store: Any
    if trouble == "sqlite":
        store, again = failing_sqlite(tmp_path / "j.db")
    else:
        platter = Platter()
        store = Store(platter, SWITCH_TABLES)
        store.add(1, "day", day(1))
        store.commit()
        platter.troubles.append(trouble)  # type: ignore[arg-type]
        again = lambda: Store(platter, SWITCH_TABLES)  # noqa: E731
    for number in (2, 3):
        store.add(number, "day", day(number))
    with pytest.raises(StorageFailed):
        store.commit()
    assert store.durable == 1
    if trouble == "sqlite":
        store._connection.close()
        store._lock.close()
    else:
        store._platter.crash(random.Random(1))
    fresh = again()
    rows = [row[0] for _, row in fresh.history()]
    fresh.close()
    assert rows in ([1], [1, 2, 3])
    assert rows == [1] or trouble == "eio", "only a sync that failed may have reached the medium"


# the simulated medium by itself


def written(count: int) -> Platter:
    platter = Platter()
    store = Store(platter, SWITCH_TABLES)
    for number in range(1, count + 1):
        store.add(number, "day", day(number))
        store.commit()
    store.close()
    return platter


def numbers(platter: Platter) -> list[int]:
    store = Store(platter, SWITCH_TABLES)
    found = [row[0] for _, row in store.history()]
    store.close()
    return found


def test_a_torn_end_is_cut_off_at_every_byte() -> None:
    whole = written(3)
    synced = len(written(2).data)
    for size in range(synced, len(whole.data) + 1):
        platter = Platter()
        platter.data, platter.synced = bytearray(whole.data[:size]), synced
        assert numbers(platter) == ([1, 2, 3] if size == len(whole.data) else [1, 2])
        assert platter.torn == (synced < size < len(whole.data))


def test_damage_before_the_end_is_refused_at_every_byte() -> None:
    whole = written(3)
    for at in range(len(written(2).data)):
        platter = Platter()
        platter.data, platter.synced = bytearray(whole.data), whole.synced
        platter.data[at] ^= 0x10
        with pytest.raises(StorageFailed):
            Store(platter, SWITCH_TABLES)


def test_a_store_shorter_than_what_was_synced_is_refused() -> None:
    platter = written(3)
    del platter.data[len(written(2).data) :]
    with pytest.raises(StorageFailed, match="were synced"):
        Store(platter, SWITCH_TABLES)


def test_killed_at_either_side_of_the_sync() -> None:
    for trouble, lasts in (("dies before sync", {(1,), (1, 2)}), ("dies after sync", {(1, 2)})):
        seen = set()
        for seed in range(20):
            platter = written(1)
            store = Store(platter, SWITCH_TABLES)
            platter.troubles.append(trouble)  # type: ignore[arg-type]
            store.add(2, "day", day(2))
            with pytest.raises(Died):
                store.commit()
            platter.crash(random.Random(seed))
            seen.add(tuple(numbers(platter)))
        assert seen == lasts


def test_sqlite_is_what_the_simulation_stands_for(tmp_path: Path) -> None:
    """The simulated commit is one frame, all or nothing: so is SQLite's transaction, read by another connection."""
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    disk.add(1, "day", day(1))
    disk.add(2, "terminal", sign_in(2))
    other = apsw.Connection(str(disk.path), flags=apsw.SQLITE_OPEN_READONLY)
    seen = [next(other.execute(f"SELECT count(*) FROM {name}"))[0] for name in ("day", "terminal")]
    disk.commit()
    after = [next(other.execute(f"SELECT count(*) FROM {name}"))[0] for name in ("day", "terminal")]
    assert (seen, after) == ([0, 0], [1, 1])
    other.close()
    disk.close()


# what was written, and nothing else: the chain and the witness


def filled(path: Path, make: str) -> tuple[Open, Callable[[int], None]]:
    """A book of 14 commits, opened again by the first; the second puts back a copy of its first n rows."""
    if make == "simulated":
        platter = Platter()
        open_it: Open = lambda: Store(platter, SWITCH_TABLES)  # noqa: E731
    else:
        open_it = lambda: Disk(path / "j.db", SWITCH_TABLES)  # noqa: E731
    store, copies = open_it(), {}
    for number in range(1, 15):
        store.add(number, "day", day(number))
        store.commit()
        if make == "sqlite":
            store._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            copies[number] = (path / "j.db").read_bytes()
    store.close()

    def put_back(rows: int) -> None:
        if make == "simulated":
            platter.put_right()
            if rows < 14:
                platter._replace(platter.data[: [end for _, end in frames(platter.data)][rows - 1]])
        else:
            (path / "j.db").write_bytes(copies[rows])

    return open_it, put_back


@pytest.mark.parametrize("make", ["sqlite", "simulated"])
def test_an_old_copy_in_the_place_of_a_book_is_refused(make: str, tmp_path: Path) -> None:
    open_it, put_back = filled(tmp_path, make)
    put_back(9)
    with pytest.raises(BrokenChain, match="ends with row 9, its witness has seen row 14: rows 10 to 14 are missing"):
        open_it()
    put_back(14)
    store = open_it()
    assert store.durable == 14
    store.close()


def test_a_hand_in_the_simulated_book_is_found_and_what_it_did_put_right() -> None:
    for share in (0.0, 0.4, 1.0):
        platter = Platter()
        store = Store(platter, SWITCH_TABLES)
        for number in range(1, 15):
            store.add(number, "day", day(number))
            store.commit()
        store.close()
        assert platter.tamper(share)
        with pytest.raises(BrokenChain, match=rf"row {1 + int(13 * share)} is "):
            Store(platter, SWITCH_TABLES)
        platter.put_right()
        assert numbers(platter) == list(range(1, 15))


def test_a_witness_behind_its_book_does_no_harm() -> None:
    platter = written(3)
    early = written(1)
    platter.witness = early.witness
    assert early.witness is not None
    assert early.witness.number == 1
    assert numbers(platter) == [1, 2, 3]
