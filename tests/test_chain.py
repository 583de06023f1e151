"""Each row chains to the one before, and a witness knows the last: what was changed, taken out or cut off is named."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import apsw
import pytest
import typer
from engine_requests import signed_in
from hand_in_book import changed, do, taken_out
from house import House
from typer.testing import CliRunner

from switch.app.cli import app
from switch.app.config import ConfigError
from switch.app.serve import _whole, open_disk
from switch.app.verify import verify_book
from switch.clearing.schema import DAY, JOURNAL, SWITCH_TABLES, UPLOAD
from switch.net.chain import Commit, committed, link_of, numbers_of, rows_of
from switch.net.disk import Disk, StorageFailed
from switch.net.witness import LINK_BYTES, START, BrokenChain, read_witness, witness_path
from terminals.device import pos


def day(number: int, date: str = "1028") -> tuple[Any, ...]:
    return (number, 1, "cups", "201", date)


def upload(number: int) -> tuple[Any, ...]:
    return (number, 1, "M", "T", "000001", "000001", 500, "matched")


def book(path: Path, *commits: int) -> Disk:
    """A closed book with so many rows in each commit; every third row is an upload."""
    disk = Disk(path, SWITCH_TABLES)
    number = disk.durable
    for rows in commits:
        for _ in range(rows):
            number += 1
            table, row = ("upload", upload(number)) if number % 3 == 0 else ("day", day(number))
            disk.add(number, table, row)
        assert disk.commit() == number
    disk.close()
    return disk


def check(path: Path) -> None:
    """Open, read, close."""
    disk = Disk(path, SWITCH_TABLES)
    try:
        disk.check()
    finally:
        disk.close()


def refusal(path: Path) -> str:
    """What a start says of this book."""
    with pytest.raises(BrokenChain) as caught:
        check(path)
    return str(caught.value)


def test_links_are_what_the_page_says(tmp_path: Path) -> None:
    """docs/reliability.md: twelve bytes of SHA-256 over the link before, the sums and the text."""
    lines = [b'[1,"day",[1,1,"cups","201","1028"]]', b'[2,"day",[2,1,"cups","201","1028"]]']
    text, sums = b"[" + b",\n".join(lines) + b"]", b"".join(crc32(line).to_bytes(4, "big") for line in lines)
    one = sha256(bytes(12) + sums + text).digest()[:12]
    assert link_of(START, sums, text) == one
    commit = committed(START, [(1, "day", day(1)), (2, "day", day(2))])
    assert commit == Commit(2, 2, text.decode(), sums, one)
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    disk.add(1, "day", day(1))
    disk.add(2, "day", day(2))
    disk.commit()
    assert read_witness(witness_path(disk.path)) == (2, one)
    disk.add(3, "day", day(3))
    disk.commit()
    third = b'[[3,"day",[3,1,"cups","201","1028"]]]'
    two = sha256(one + crc32(third[1:-1]).to_bytes(4, "big") + third).digest()[:12]
    assert read_witness(witness_path(disk.path)) == (3, two)
    disk.close()
    connection = apsw.Connection(str(disk.path))
    assert connection.execute("SELECT number, posts, link FROM commits").fetchall() == [(2, 2, one), (3, 1, two)]


def test_a_sound_book_goes_on_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    book(path, 5, 1, 4)
    book(path, 3)
    book(path)
    again = Disk(path, SWITCH_TABLES)
    assert [row[0] for _, row in again.history()] == list(range(1, 14))
    assert (again.durable, again.gaps) == (13, 0)
    again.close()
    found = verify_book(path)
    assert found == {
        "sound": True, "fault": "", "rows": 13, "last": 13, "link": again._link.hex(), "witness": 13,
    }  # fmt: skip
    assert len(again._link) == LINK_BYTES


ROW_11 = """[[11,"day",[11,1,"cups","202","1028"]]]"""


@pytest.mark.parametrize(
    ("hand", "said"),
    [
        (changed(DAY, 4, "settlement_date", "1029"), "row 4 is not what was written: the chain is broken there"),
        (changed(DAY, 10, "at_ms", 2), "row 10 is not what was written"),
        (changed(UPLOAD, 6, "amount", 600), "row 6 is not what was written"),
        (changed(DAY, 2, "number", 16), "row 2 is not what was written"),
        (taken_out(1), "row 1 is missing"),
        (taken_out(5), "row 5 is missing"),
        (taken_out(6), "row 6 is missing"),
        (taken_out(10), "row 10 is missing"),
        ("DELETE FROM commits WHERE number = 5", "row 1 is missing"),
        ("DELETE FROM commits WHERE number = 6", "row 6 is missing"),
        ("UPDATE commits SET rows = json_insert(rows, '$[9]', json(rows -> 0)) WHERE number = 5",
         "row 5 does not chain to row 0"),
        (f"INSERT INTO commits VALUES (11, 1, '{ROW_11}', x'00000000', x'00')", "row 11 is not what was written"),
        (f"INSERT INTO commits SELECT 11, 1, '{ROW_11}', x'{crc32(ROW_11[1:-1].encode()):08x}', link FROM commits",
         "row 11 does not chain to row 10"),
        ("UPDATE commits SET sums = x'00' WHERE number = 6", "row 6 cannot be read"),
        ("UPDATE commits SET sums = zeroblob(16) WHERE number = 10", "row 7 is not what was written"),
        ("UPDATE commits SET link = zeroblob(12) WHERE number = 6", "row 6 does not chain to row 5"),
        ("UPDATE commits SET rows = substr(rows, 2) WHERE number = 5",
         "row 1 cannot be read, nor what was written with it up to row 5"),
        ("UPDATE commits SET number = 12 WHERE number = 10", "row 12: its commit has another number"),
        ("UPDATE commits SET posts = 3 WHERE number = 10", "row 10: its commit has another number, or another count"),
    ],
)  # fmt: skip
def test_a_hand_in_the_file_is_named(tmp_path: Path, hand: str, said: str) -> None:
    path = tmp_path / "j.db"
    book(path, 5, 1, 4)
    do(path, hand.replace("FROM commits", "FROM commits LIMIT 1") if "SELECT 11" in hand else hand)
    assert said in refusal(path)
    found = verify_book(path)
    assert not found["sound"]
    assert said in found["fault"]


def test_rows_that_changed_places(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    book(path, 6)
    swapped = "json_set(rows, '$[1]', json(rows -> 3), '$[3]', json(rows -> 1))"
    do(path, f"UPDATE commits SET rows = {swapped}")
    assert "row 2 is not what was written" in refusal(path)


def test_a_gap_in_the_numbers_is_no_fault_of_the_chain(tmp_path: Path) -> None:
    """It is the machine's, counted by the store and told by the books; what was written is there."""
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    for number in (1, 3, 4, 9):
        disk.add(number, "day", day(number))
    disk.commit()
    assert disk.gaps == 2
    disk.close()
    again = Disk(tmp_path / "j.db", SWITCH_TABLES)
    assert [row[0] for _, row in again.history()] == [1, 3, 4, 9]
    assert again.row("day", 3) == day(3)
    assert again.row("day", 5) is None
    again.close()


def test_a_tail_that_is_cut_off(tmp_path: Path) -> None:
    """Rows and links of the last commit are gone: the chain is whole, only the witness knows."""
    path = tmp_path / "j.db"
    book(path, 5, 4)
    do(path, "DELETE FROM commits WHERE number > 5")
    said = "j.db ends with row 5, its witness has seen row 9: rows 6 to 9 are missing"
    assert refusal(path) == said
    with pytest.raises(ConfigError, match="rows 6 to 9 are missing; nothing was started"):
        open_disk(path, SWITCH_TABLES)
    assert "rows 6 to 9 are missing" in verify_book(path)["fault"]
    witness_path(path).unlink()
    assert verify_book(path)["sound"], "without its witness nobody can tell"


def test_a_restored_copy(tmp_path: Path) -> None:
    """An older copy of the file beside the newer witness; and one that went another way since."""
    path, copy = tmp_path / "j.db", tmp_path / "copy.db"
    book(path, 5)
    copy.write_bytes(path.read_bytes())
    book(path, 2)
    newer = witness_path(path).read_bytes()
    path.write_bytes(copy.read_bytes())
    assert refusal(path) == "j.db ends with row 5, its witness has seen row 7: rows 6 to 7 are missing"
    witness_path(path).unlink()
    disk = Disk(path, SWITCH_TABLES)
    for number in (6, 7, 8):
        disk.add(number, "day", day(number, "1101"))
    disk.commit()
    disk.close()
    witness_path(path).write_bytes(newer)
    assert refusal(path) == "row 7 is another one than the witness has seen"


def test_a_witness_behind_its_book_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    book(path, 5)
    older = witness_path(path).read_bytes()
    book(path, 3)
    witness_path(path).write_bytes(older)
    check(path)
    assert verify_book(path)["witness"] == 5
    witness_path(path).write_bytes(b"")
    check(path)
    witness_path(path).write_bytes(older[:-1] + bytes([older[-1] ^ 1]))
    assert refusal(path) == "j.db.witness is no witness: it is damaged, or another file"
    witness_path(path).write_bytes(b"something else")
    assert not verify_book(path)["sound"]


def test_killed_between_commit_and_witness(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from switch.clearing.schema import SWITCH_TABLES\n"
        "from switch.net import disk, witness\n"
        "d = disk.Disk(Path(sys.argv[1]), SWITCH_TABLES)\n"
        "d.add(1, 'day', (1, 1, 'cups', '201', '1028')); d.commit()\n"
        "witness.WitnessFile.note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "d.add(2, 'day', (2, 1, 'cups', '202', '1028')); d.commit()"
    )
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", program, str(path)], check=False, cwd=root, timeout=30)
    disk = Disk(path, SWITCH_TABLES)
    disk.check()
    assert disk.durable == 2
    witness = read_witness(witness_path(path))
    assert witness is not None
    assert witness.number == 1
    disk.add(3, "day", day(3))
    disk.commit()
    disk.close()
    assert verify_book(path)["witness"] == 3


def test_a_witness_that_cannot_be_written_stops_the_switch(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    os.close(disk._witness._file)
    disk.add(1, "day", day(1))
    with pytest.raises(StorageFailed, match=r"^j\.db: OSError$"):
        disk.commit()
    with pytest.raises(StorageFailed):
        disk.close()


def test_a_switch_refuses_a_broken_journal_before_it_does_anything(tmp_path: Path) -> None:
    """Recovery reads the rows against the chain: a changed row ends it, naming row and file."""
    house = House()
    signed_in(house)
    assert house.run(pos.sale(house.memories[0], house.line, house.card(1), 1000)).approved
    disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
    for number, (table, row) in enumerate(house.rows, 1):
        disk.add(number, table, row)
    disk.commit()
    assert list(disk.history()) == house.rows, "rows come back as they were written, to the type"
    disk.close()
    (sent,) = (row["number"] for row in house.of("journal") if row["state"] == "sent")
    do(tmp_path / "j.db", changed(JOURNAL, sent, "amount", 100))
    again = Disk(tmp_path / "j.db", SWITCH_TABLES)
    fresh = House(terminals=6)
    with pytest.raises(ConfigError, match=rf"j\.db: row {sent} is not what was written: the chain is broken there"), \
            _whole(again.path):  # fmt: skip
        fresh.engine.recover(again.history(), fresh.now, [])
    again.close()


def test_one_table_of_a_book(tmp_path: Path) -> None:
    disk = book(tmp_path / "j.db", 7, 13)
    connection = apsw.Connection(str(disk.path))
    assert list(numbers_of(connection)) == list(range(1, 21))
    assert list(rows_of(connection, DAY.name)) == [("day", day(n)) for n in range(1, 21) if n % 3]
    assert [row[0] for _, row in rows_of(connection, "upload")] == [3, 6, 9, 12, 15, 18]
    assert list(rows_of(connection, "terminal")) == []


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    book(path, 5, 2)
    runner = CliRunner()
    told = runner.invoke(app, ["clearing", "verify", "--journal", str(path)])
    assert told.exit_code == 0
    assert "7 rows chained to row 7" in told.output
    assert "sound 完整" in told.output
    do(path, taken_out(4))
    told = runner.invoke(app, ["clearing", "verify", "--journal", str(path), "--json", "-"])
    assert told.exit_code == 1
    assert json.loads(told.output)["fault"] == "row 4 is missing"
    with pytest.raises(typer.BadParameter, match="no such file"):
        verify_book(tmp_path / "absent.db")
    (tmp_path / "text").write_text("no book at all, whatever its name may be")
    assert runner.invoke(app, ["clearing", "verify", "--journal", str(tmp_path / "text")]).exit_code == 2
