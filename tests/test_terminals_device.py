"""PIN pad and memory: keys in, nothing out; what survives, and what is exported."""

import copy
import pickle
from pathlib import Path

import apsw
import pytest
from terminals_host import MAK8, MAK16, PIK, TDK, TMK, HeldCard, ScriptedHost, holder, keys_62, new_line, new_memory

from switch.clearing.schema import TERMINALS
from switch.crypto.block import cipher
from switch.crypto.errors import CryptoError, KcvMismatch
from switch.crypto.mac import cup_ecb_mac
from switch.crypto.pinblock import decode
from switch.wire.profile import KeyBlock
from terminals.device import pos
from terminals.device.memory import Item, Memory, Original, export
from terminals.device.pinpad import PinPad
from terminals.drive.instant import run

PAN = HeldCard().pan
DES_LAYOUT = (KeyBlock(name="pik"), KeyBlock(name="mak", bytes=8, pad=8))
SM4_LAYOUT = (KeyBlock(name="pik"), KeyBlock(name="mak"), KeyBlock(name="tdk"))
DERIVED_003 = "41B1F3D154C3079A5673ACFAB058D6A414902E4D018BC9D09EE9B81600000000000000000547DB3E"
DERIVED_004 = DERIVED_003 + "31A7364CAC91CA39C0489F69BEC54FA2FB097599"


@pytest.mark.parametrize(
    ("de62", "layout"), [(DERIVED_003, DES_LAYOUT), (DERIVED_004, (*DES_LAYOUT, KeyBlock(name="tdk")))]
)
def test_published_sign_in_keys_work(de62: str, layout: tuple[KeyBlock, ...]) -> None:
    pad = PinPad("3des", TMK)
    pad.load_keys(bytes.fromhex(de62), layout)
    assert pad.pin_block("123456", "6212142000000000012", "iso0").hex().upper() == "6F2860B60AE1B36F"
    assert pad.mac(b"covered") == cup_ecb_mac(cipher("3des", MAK8), b"covered")
    assert pad.verify(b"covered", pad.mac(b"covered"))
    assert not pad.verify(b"covered!", pad.mac(b"covered"))
    if len(layout) == 3:
        assert pad.track("6226090000000154D49121200000000000000") == "6226090000000154D4911DE92AC345BC4C9B0"


def test_sm4_keys_work() -> None:
    pad = PinPad("sm4", TMK)
    pad.load_keys(keys_62("sm4"), SM4_LAYOUT)
    block = cipher("sm4", PIK).decrypt(pad.pin_block("123456", PAN, "sm4"))
    assert decode("sm4", block, PAN) == "123456"
    assert pad.mac(b"covered") == cup_ecb_mac(cipher("sm4", MAK16), b"covered")
    assert pad.ready


@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_any_wrong_byte_leaves_the_former_keys(suite: str) -> None:
    layout = SM4_LAYOUT if suite == "sm4" else DES_LAYOUT
    pad = PinPad(suite, TMK)
    pad.load_keys(keys_62(suite), layout)
    before = pad.mac(b"covered")
    fresh = keys_62(suite, pik=TDK, mak=None)
    fill = range(36 - 8, 36) if suite == "3des" else range(0)
    for at in set(range(len(fresh))) - set(fill):
        broken = bytearray(fresh)
        broken[at] ^= 0x10
        with pytest.raises(KcvMismatch) as caught:
            pad.load_keys(bytes(broken), layout)
        assert caught.value.label in ("pik", "mak", "tdk")
    assert pad.mac(b"covered") == before


def test_what_load_keys_refuses() -> None:
    pad = PinPad("3des", TMK)
    with pytest.raises(CryptoError, match="39 bytes of keys, its layout 40"):
        pad.load_keys(keys_62("3des")[:-1], DES_LAYOUT)
    with pytest.raises(CryptoError, match="no PIN key or no MAC key"):
        pad.load_keys(keys_62("3des")[:20], DES_LAYOUT[:1])
    for use in (lambda: pad.mac(b""), lambda: pad.pin_block("1234", PAN, "iso0"), lambda: pad.track("1=2")):
        with pytest.raises(CryptoError):
            use()
    with pytest.raises(CryptoError, match="16 bytes"):
        PinPad("3des", TMK[:8])
    with pytest.raises(CryptoError, match="3des or sm4"):
        PinPad("aes", TMK)


def test_a_pin_pad_gives_nothing_away() -> None:
    pad = PinPad("3des", TMK)
    pad.load_keys(keys_62("3des"), DES_LAYOUT)
    assert repr(pad) == "PinPad(3des, keys loaded)"
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            way(pad)
    pad.forget_keys()
    assert not pad.ready


def test_stan_runs_in_a_circle_without_zero() -> None:
    memory = new_memory()
    assert memory.next_stan() == "000001"
    memory.stan = 999_998
    assert [memory.next_stan() for _ in range(3)] == ["999999", "000001", "000002"]


def test_nothing_shows_a_card_number() -> None:
    memory, line, host = new_memory(), new_line(), ScriptedHost()
    outcome = run(pos.sale(memory, line, HeldCard(), 100), host, holder)
    host.script.append(lambda request, fields: None)
    doubtful = run(pos.sale(memory, line, HeldCard(), 100), host, holder)
    for thing in (memory, outcome, doubtful, memory.items, memory.pending, line, outcome.item):
        assert PAN not in repr(thing)
        assert HeldCard().track2 not in repr(thing)
        assert "123456" not in repr(thing)


def test_totals_count_what_stands() -> None:
    memory = new_memory()
    rows = [
        ("sale", 100, "approved", "none"), ("sale", 10, "declined", "none"), ("sale", 1, "unknown", "done"),
        ("completion", 1000, "approved", "none"), ("sale_void", 30, "approved", "none"),
        ("refund", 7, "approved", "none"), ("preauth", 5, "approved", "none"), ("balance", 0, "approved", "none"),
    ]  # fmt: skip
    for stan, (kind, amount, state, reversal) in enumerate(rows, 1):
        memory.items.append(
            Item(kind, "000001", f"{stan:06d}", amount, "021", PAN, "3612", state=state, reversal=reversal)
        )
    assert memory.totals() == (1100, 2, 37, 2)
    assert [item.stan for item in memory.undoable("sale")] == ["000001"]


def test_a_new_batch_closes_the_items_of_the_old_one() -> None:
    memory = new_memory()
    memory.open_batch("000001")
    memory.items.append(Item("sale", "000001", "000001", 1, "021", PAN, "3612"))
    memory.open_batch("000001")
    assert len(memory.items) == 1
    memory.open_batch("000002")
    assert (memory.items, len(memory.closed), memory.batch) == ([], 1, "000002")


def test_export_writes_the_terminals_table(tmp_path: Path) -> None:
    memory, line, host = new_memory(), new_line(), ScriptedHost()
    sold = run(pos.sale(memory, line, HeldCard(), 12345), host, holder).item
    assert sold is not None
    run(pos.sale_void(memory, line, sold), host, holder)
    path = tmp_path / "terminals.db"
    for _ in range(2):
        assert export([memory, Memory("10000002", "x", "5411", "", PinPad("3des", TMK))], path) == 2
    rows = list(apsw.Connection(str(path)).execute("SELECT * FROM terminals ORDER BY number"))
    assert len(rows[0]) == len(TERMINALS.names)
    first, second = (dict(zip(TERMINALS.names, row, strict=True)) for row in rows)
    assert first == {
        "number": 1, "mid": memory.mid, "tid": memory.tid, "batch": "000001", "stan": "000002", "kind": "sale",
        "amount": 12345, "currency": "156", "entry_mode": "021", "pan_masked": "621214*********0030",
        "rrn": "000000000001", "auth_code": "A00001", "response_code": "00", "settlement_date": "0612",
        "state": "approved", "reversal": "none", "original_batch": "", "original_stan": "",
    }  # fmt: skip
    assert (second["kind"], second["original_batch"], second["original_stan"]) == ("sale_void", "000001", "000002")
    assert PAN.encode() not in path.read_bytes()


def test_an_item_names_itself_as_an_original() -> None:
    item = Item("sale", "000001", "000002", 1, "021", PAN, "3612", rrn="R", auth_code="A", date="0612")
    assert item.name() == Original("000001", "000002", "0612", "R", "A")
    assert Item("sale", "000001", "000002", 1, "021", PAN, "3612").name().date == "0000"
