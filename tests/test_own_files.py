"""terminals.csv, cards.csv and transport keys: every fault with its line and reason, nothing loaded by halves."""

import csv
import io
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest

from switch.app.compose import take_terminals
from switch.app.config import ConfigError
from switch.crypto.block import kcv
from switch.crypto.hsm import Hsm
from switch.issuer.shelf import Shelf
from switch.wire.roster import TRANSPORT_KEY, TerminalRow, read_cards, read_terminals, write_terminals
from switch.wire.table import FAULTS_MAX, TableError
from terminals.fleet import Terminal, mint
from terminals.own import (
    TransportKey,
    own_cards,
    own_terminals,
    parse_transport_keys,
    read_transport_keys,
    wrap,
)

KEY = TransportKey(TRANSPORT_KEY, "sm4", bytes.fromhex("00112233445566778899AABBCCDDEEFF"))
SUITES = ("3des", "sm4")
PANS = ("6230000000000000015", "6230000000000000023", "6230000000000000031")
HEAD = "tid,mid,mcc,merchant_name,suite"
TRACK = "track2: pan, '=' or 'D', expiry, service code, up to 37 characters"
ROW = "10000001,999290054110001,5411,江南区和记超市,3des"


def rows_of(fleet: list[Terminal], key: TransportKey = KEY) -> list[TerminalRow]:
    return [
        TerminalRow(
            t.tid, t.mid, t.mcc, t.merchant_name, t.suite, t.model, t.capabilities, t.district, t.topology,
            *wrap(key, t.suite, t.tmk), key.label,
        )
        for t in fleet
    ]  # fmt: skip


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "terminals.csv"
    write_terminals(path, rows_of(mint(5, 40)))
    return path


def changed(path: Path, line: int, **cells: str) -> Path:
    """The file with cells of one line changed."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    rows[line - 2].update(cells)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def faults(error: pytest.ExceptionInfo[TableError]) -> list[tuple[int, str]]:
    return [(fault.line, fault.reason) for fault in error.value.faults]


def test_what_is_written_is_read(listed: Path) -> None:
    assert own_terminals(listed, [KEY], SUITES) == mint(5, 40)


def test_the_old_minimal_list_is_read_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "terminals.csv"
    path.write_text(f"\ufeff{HEAD}\r\n{ROW}\r\n\r\n", encoding="utf-8")
    row = read_terminals(path)[0]
    assert (row.capabilities, row.topology, row.tmk, row.line) == (("stripe",), "indirect", b"", 2)


def test_the_switch_takes_master_keys_from_the_list_or_from_its_key_file(listed: Path, tmp_path: Path) -> None:
    fleet = mint(5, 40)
    hsm = Hsm(bytes(32), bytes)
    hsm.import_clear(KEY.label, "tmk", KEY.suite, KEY.key)
    assert [terminal.tid for terminal in take_terminals(listed, hsm, SUITES)] == [terminal.tid for terminal in fleet]
    assert all(hsm.kcv(f"tmk/{t.tid}") == kcv(t.suite, t.tmk) for t in fleet)
    minimal = tmp_path / "minimal.csv"
    minimal.write_text(f"{HEAD}\n{ROW}\n{ROW.replace('10000001', '99999999')}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        take_terminals(minimal, hsm, SUITES)
    assert str(error.value) == f"{minimal}: line 3: tmk: empty, and the key file has no key tmk/99999999"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"tid": "1234567"}, "tid: 8 characters are needed, not '1234567'"),
        ({"tid": "10000001"}, "tid: the same as in line 2"),
        ({"mid": ""}, "mid: is missing"),
        ({"suite": "aes"}, "suite: 'aes' is none of 3des, sm4"),
        ({"suite": "6212140000000000030"}, "suite: '621214*********0030' is none of 3des, sm4"),
        ({"mcc": "54"}, "mcc: 4 digits are needed"),
        ({"merchant_name": "名" * 21}, "merchant_name: has 42 bytes in GBK, DE43 40"),
        ({"capabilities": "stripe+chip"}, "capabilities: 'stripe+chip' is not a sum like stripe+contact+contactless"),
        ({"topology": "no"}, "topology: 'no' is none of direct, indirect, 直联, 间联"),
        ({"tmk": "00" * 15}, "tmk: 32 hexadecimal digits are needed"),
        ({"tmk": ""}, "tmk: a master key and its check value come together"),
        ({"kcv": "0000"}, "kcv: 6 to 16 hexadecimal digits are needed"),
        ({"kcv": "00000000"}, "kcv: the master key has another check value under transport key 'terminals_key'"),
        ({"kek": "north"}, "kek: no transport key 'north' was given (--kek-file, SHOUDAN_KEK)"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_told_with_its_line(listed: Path, cells: dict[str, str], reason: str) -> None:
    with pytest.raises(TableError) as error:
        own_terminals(changed(listed, 7, **cells), [KEY], SUITES)
    assert faults(error) == [(7, reason)]
    assert str(error.value) == f"{listed}: line 7: {reason}"


def test_the_switch_tells_wrong_keys_with_their_lines(listed: Path) -> None:
    hsm = Hsm(bytes(32), bytes)
    hsm.import_clear(KEY.label, "tmk", KEY.suite, KEY.key)
    changed(listed, 3, kcv="000000")
    changed(listed, 5, kek="north")
    with pytest.raises(ConfigError) as error:
        take_terminals(listed, hsm, ("3des",))
    lines = str(error.value).splitlines()
    assert f"{listed}: line 3: kcv: the master key has another check value under 'terminals_key'" in lines
    assert f"{listed}: line 5: kek: the key file has no key 'north'" in lines
    assert any(line.endswith("suite: the profile has none for sm4") for line in lines)


def test_a_merchant_has_one_mcc(listed: Path) -> None:
    rows = read_terminals(listed)
    first, second = next((a, b) for a, b in itertools.pairwise(rows) if a.mid == b.mid)
    with pytest.raises(TableError) as error:
        read_terminals(changed(listed, second.line, mcc="0000"))
    assert faults(error)[0] == (second.line, f"mcc: merchant {first.mid} has {first.mcc} in line {first.line}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", [(0, "has no header line")]),
        (
            f"{HEAD.replace('suite', 'siute')}\n{ROW}\n",
            [(1, "column 'siute' is not known"), (1, "column 'suite' is missing")],
        ),
        (f"{HEAD},tid\n{ROW},10000001\n", [(1, "column 'tid' stands here twice")]),
        (f"{HEAD}\n{ROW},x\n", [(2, "has 6 cells, the header 5")]),
        (f'{HEAD}\n{ROW}\n"10000002,\n', [(3, "not CSV: unexpected end of data")]),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_with_its_line(tmp_path: Path, text: str, told: list[tuple[int, str]]) -> None:
    path = tmp_path / "terminals.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError) as error:
        read_terminals(path)
    assert faults(error)[: len(told)] == told


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none\.csv: No such file or directory"):
        read_terminals(tmp_path / "none.csv")
    path = tmp_path / "gbk.csv"
    path.write_bytes(f"{HEAD}\n{ROW}\n".encode("gbk"))
    with pytest.raises(TableError, match="line 2: not UTF-8"):
        read_terminals(path)
    path.write_text(f"{HEAD},tmk,kcv\n", encoding="utf-8")
    with pytest.raises(TableError, match="lists no terminal"):
        own_terminals(path, [KEY], SUITES)


def test_faults_are_listed_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "terminals.csv"
    path.write_text(f"{HEAD}\n" + "x,y,z,n,s\n" * 50, encoding="utf-8")
    with pytest.raises(TableError) as error:
        read_terminals(path)
    assert len(error.value.faults) == FAULTS_MAX + 1
    assert str(error.value).splitlines()[-1].endswith(f"reading ended after {FAULTS_MAX} faults")
    again = pickle.loads(pickle.dumps(error.value))
    assert (str(again), again.faults) == (str(error.value), error.value.faults)


def cards(tmp_path: Path, *lines: str, head: str = "pan,expiry,track2,service_code,psn,pin,issuer_key,type") -> Path:
    path = tmp_path / "cards.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_cards_and_their_tracks(tmp_path: Path) -> None:
    path = cards(
        tmp_path, f"{PANS[0]},3612,,,1,123456,imk,credit", f"{PANS[1]},3612,{PANS[1]}D36122010000001,,,,,",
        f"{PANS[2]},3612,,201,,,,贷记",
    )  # fmt: skip
    first, second, third = read_cards(path)
    assert first.track2 == f"{PANS[0]}=361212000000000"
    assert (first.psn, first.pin, first.issuer_key, first.credit, first.balance_minor) == (
        "001",
        "123456",
        "imk",
        True,
        None,
    )
    assert second.track2 == f"{PANS[1]}=36122010000001"
    assert (second.pin, second.credit) == ("", False)
    assert third.track2 == f"{PANS[2]}=361220100000000"
    assert third.credit
    assert PANS[0] not in repr(first)
    assert repr(first) == "CardRow(623000*********0015)"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{PANS[0][:-1]}4,3612,,,,,,", "pan: the check digit (Luhn) is wrong"),
        ("62300000,3612,,,,,,", "pan: 13 to 19 digits are needed"),
        (f"{PANS[1]},3613,,,,,,", "expiry: an expiry date is YYMM"),
        (f"{PANS[1]},,,,,,,", "expiry: is missing"),
        (f"{PANS[1]},3612,{PANS[0]}=36121200000001,,,,,", TRACK),
        (f"{PANS[1]},3612,,,,12,,", "pin: 4 to 12 digits are needed"),
        (f"{PANS[1]},3612,,,,,,prepaid", "type: 'prepaid' is none of debit, credit, 借记, 贷记"),
        (f"{PANS[0]},3612,,,,,,", "pan: the same as in line 2"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_told_without_its_number(tmp_path: Path, line: str, reason: str) -> None:
    path = cards(tmp_path, f"{PANS[0]},3612,,,,123456,,", line)
    with pytest.raises(TableError) as error:
        own_cards(path)
    assert faults(error) == [(3, reason)]
    assert not any(pan in str(error.value) for pan in PANS)
    assert "123456" not in str(error.value)


def test_pins_from_a_file_of_their_own(tmp_path: Path) -> None:
    path = cards(tmp_path, f"{PANS[0]},3612,,,,,,", f"{PANS[1]},3612,,,,654321,,")
    pins = tmp_path / "pins.csv"
    pins.write_text(f"pan,pin\n{PANS[0]},123456\n", encoding="utf-8")
    assert [card.pin for card in own_cards(path, pins)] == ["123456", "654321"]
    pins.write_text(f"pan,pin\n{PANS[0]},123456\n{PANS[2]},123456\n", encoding="utf-8")
    with pytest.raises(TableError) as error:
        own_cards(path, pins)
    assert str(error.value) == f"{pins}: line 3: pan: no such card in {path}"


def test_listed_cards_at_an_issuer(tmp_path: Path) -> None:
    path = cards(
        tmp_path, f"{PANS[0]},3612,123456,5000", f"{PANS[1]},3612,,", head="pan,expiry,pin,balance_minor"
    )  # fmt: skip
    shelf = Shelf(read_cards(path))
    card = shelf.find(PANS[0])
    assert card is not None
    assert (card.pin, card.balance_minor, card.issuer) == ("123456", 5000, shelf.issuers[0])
    assert len(shelf.card(0, 1).pin) == 12
    assert shelf.find(PANS[2]) is None
    assert shelf.issuer_of(PANS[1]) is shelf.issuers[0]
    assert not any(pan in repr(shelf.issuers[0]) + repr(shelf) for pan in PANS)


CLEAR = "0123456789ABCDEFFEDCBA9876543210"


def test_transport_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    check = kcv("3des", bytes.fromhex(CLEAR), 3).hex()
    path.write_text(f"label,suite,key,kcv\nnorth,3des,{CLEAR},{check}\n,sm4,{CLEAR},\n")
    north, other = read_transport_keys(path)
    assert (north.label, other.label) == ("north", TRANSPORT_KEY)
    assert CLEAR not in repr(north)
    assert parse_transport_keys(f"north:3des:{CLEAR}:{check}; south:sm4:{CLEAR.lower()}")[1].suite == "sm4"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"north:3des:{CLEAR}:00000000", "line 1: kcv: the key has another check value"),
        (f"a:sm4:{CLEAR};north:{CLEAR}", "line 2: label:suite:key or label:suite:key:kcv is needed"),
        (f"a:sm4:{CLEAR};a:sm4:{CLEAR}", "line 2: a second key of this label"),
        (f"a:sm4:{CLEAR}{CLEAR[:16]}", "line 1: an sm4 key has 32 hexadecimal digits"),
        ("a:sm4:xyz", "line 1: 32 to 48 hexadecimal digits are needed"),
    ],
)  # fmt: skip
def test_wrong_transport_keys(text: str, told: str) -> None:
    with pytest.raises(TableError) as error:
        parse_transport_keys(text)
    assert str(error.value) == f"SHOUDAN_KEK: {told}"
    assert CLEAR not in str(error.value)


def test_a_reason_of_any_cell_holds_no_secret(listed: Path) -> None:
    """A column shifted to the left brings keys and numbers where words are wanted."""
    secret: dict[str, Any] = {"suite": CLEAR, "topology": PANS[0], "capabilities": f"{PANS[0]}=36121200000001"}
    with pytest.raises(TableError) as error:
        own_terminals(changed(listed, 7, **secret), [KEY], SUITES)
    assert len(error.value.faults) == 3
    assert not any(value in str(error.value) for value in (CLEAR, *PANS))
