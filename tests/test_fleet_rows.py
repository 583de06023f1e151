"""Terminals as rows: what is put comes back, keys and debts included, and a province takes a page's worth of memory."""

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from switch.crypto.block import ecb_encryptor, kcv
from switch.wire.private_62 import WrappedKey, write_keys
from switch.wire.profile import PosProfile, load_profile
from terminals.census import load_census
from terminals.device.dialogue import Line
from terminals.device.memory import Chip, Item, Memory, Notice, Original, Pending, Settling
from terminals.fleet import Kind, fleet_key, machine, machines_key, mint, mint_operators, shop_terminal
from terminals.machines import fresh_notes
from terminals.province import Province
from terminals.rows import GateRows, Rows

SEED = 3


def new_line() -> Line:
    profile = load_profile("unionpay-pos")
    assert isinstance(profile, PosProfile)
    return Line(profile)


LINE = new_line()
KEY = fleet_key(SEED)


def shops(count: int = 40) -> Rows:
    return Rows(count, lambda n: shop_terminal(KEY, n), LINE)


def keys_for(memory: Memory, tmk: bytes, stuff: bytes) -> bytes:
    """DE62 of a sign-in reply, working keys made of `stuff`."""
    section = LINE.protection(memory.suite).section
    wrap = ecb_encryptor(memory.suite, tmk)
    keys = []
    for number, block in enumerate(section.keys):
        key = bytes(byte ^ number for byte in stuff)[: block.bytes]
        keys.append(WrappedKey(block.name, wrap(key), kcv(memory.suite, key, 4)[: block.kcv]))
    return write_keys(keys, [(block.name, block.bytes, block.pad, block.kcv) for block in section.keys])


digits = some.text("0123456789", min_size=6, max_size=6)
chips = some.builds(
    Chip, pan=some.just("6212140000000000030"), psn=some.just("001"), atc=some.integers(0, 65535),
    aid=some.just("A000000333010101"), label=some.just("PBOC"), data=some.binary(max_size=40),
    read=some.none() | some.dictionaries(some.sampled_from(["9F10", "57"]), some.binary(max_size=8)),
)  # fmt: skip
items = some.builds(
    Item, kind=some.sampled_from(["sale", "refund", "preauth", "chip_offline_sale"]), batch=digits, stan=digits,
    amount_minor=some.integers(1, 10**9), entry_mode=some.just("022"), pan=some.just("6212140000000000030"),
    expiry=some.just("3612"), original=some.none() | some.builds(Original, digits, digits),
    state=some.sampled_from(["unknown", "approved", "offline"]), chip=some.none() | chips,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    number=some.integers(0, 39), stan=some.integers(0, 999_999), batch=some.just("") | digits,
    clock=some.tuples(some.just("0714"), digits) | some.just(("", "")), signed_in=some.booleans(),
    stuff=some.none() | some.binary(min_size=16, max_size=16), book=some.lists(items, max_size=5),
    owed=some.booleans(), parameters=some.dictionaries(some.just("12"), some.just("60")),
)  # fmt: skip
def test_what_is_put_comes_back(
    number: int, stan: int, batch: str, clock: tuple[str, str], signed_in: bool, stuff: bytes | None, book: list[Item],
    owed: bool, parameters: dict[str, str],
) -> None:  # fmt: skip
    rows = shops()
    tmk = rows.terminal(number).tmk
    memory = rows.take(number)
    memory.stan, memory.batch, memory.clock, memory.signed_in = stan, batch, clock, signed_in
    memory.items, memory.parameters = book, parameters
    section = LINE.protection(memory.suite).section
    if stuff is not None:
        memory.pinpad.load_keys(keys_for(memory, tmk, stuff), section.keys, section.mac)
    if owed and book:
        memory.pending = Pending(book[0], "98", tries=2)
        memory.notices = [Notice(book[-1], b"\x9f\x26", "000001", "000002")]
        memory.settling = Settling("1", step=3)
        memory.last = book[0]
    told = memory.pinpad.mac(b"a message") if stuff is not None else b""
    rows.put(number)
    assert number not in rows.out
    assert (rows.signed_in, list(rows.open())) == (signed_in, [number] if book else [])

    again = rows.take(number)
    assert again is not memory
    for name in ("tid", "mid", "mcc", "merchant_name", "suite", "stan", "batch", "clock", "signed_in", "parameters"):
        assert getattr(again, name) == getattr(memory, name), name
    assert again.items == book
    assert (again.pending, again.notices, again.settling, again.last) == (
        memory.pending, memory.notices, memory.settling, memory.last,
    )  # fmt: skip
    if again.pending is not None:  # the debt is about the item in the book, not about one like it
        assert again.pending.item is again.items[0] is again.last
    assert again.pinpad.ready == (stuff is not None)
    if stuff is not None:
        assert again.pinpad.mac(b"a message") == told


def test_who_is_out_is_out_once_and_the_others_are_not_touched() -> None:
    rows = shops()
    rows.take(7).stan = 5
    with pytest.raises(KeyError):
        rows.take(7)
    rows.put(7)
    assert [rows.take(number).stan for number in (6, 7, 8)] == [0, 5, 0]


def test_a_terminal_out_of_the_box_is_a_record_and_nothing_more() -> None:
    rows = shops()
    for number in range(40):
        rows.take(number).next_stan()
        rows.put(number)
    assert (rows.bytes, rows.paged()) == (40 * 81, [])
    rows.take(1).parameters = {"12": "60"}
    rows.put(1)
    assert rows.paged() == [1]
    rows.take(1).parameters = {}
    rows.put(1)
    assert rows.paged() == []


def test_a_machine_keeps_its_notes() -> None:
    rows = Rows(4, lambda n: machine(machines_key(SEED), n), LINE)
    atm = rows.take(1)
    atm.vault.load(fresh_notes(atm), "0714120000")
    stock = atm.vault.stock()
    assert sum(stock.values()) > 1000
    atm.retained.append(("621214******0030", "code", "33", "0714120000"))
    rows.put(1)
    again = rows.take(1)
    assert again.vault.stock() == stock
    assert again.retained == atm.retained
    assert rows.take(2).vault.stock() != stock


def test_a_validator_keeps_its_counts_and_its_lists() -> None:
    (operator,) = mint_operators(SEED, 1, 12)
    gates = GateRows(operator)
    gate = gates.take(5)
    gate.next_tap, gate.refused = 18, 2
    gate.recent["6212140000000000030"] = datetime(2015, 7, 14, 8, 30)
    newer = operator.lists._replace(version=2, blacklist=frozenset(("6212140000000000030",)))
    gate.take(newer)
    gates.put(5)
    again = gates.take(5)
    assert (again.next_tap, again.refused, again.recent) == (18, 2, gate.recent)
    assert again.lists is newer
    assert gates.take(6).lists is operator.lists


def test_a_terminal_follows_from_its_number_alone() -> None:
    assert [shop_terminal(KEY, n) for n in (0, 17, 299)] == [mint(SEED, 300)[n] for n in (0, 17, 299)]
    far = [shop_terminal(KEY, n, Kind(a_merchant=0)) for n in range(442_900, 443_000)]
    assert len({one.tid for one in far}) == 100
    assert 25 < len({one.mid for one in far}) < 45
    alone = [shop_terminal(KEY, n, Kind(a_merchant=1)).mid for n in range(740)]
    assert len(set(alone)) == 740


def test_the_province_has_the_shares_of_its_source_and_no_number_twice() -> None:
    province = Province(load_census("anhui-2015"), SEED, LINE)
    assert (len(province.shops), len(province.machines), province.terminals) == (443_000, 19_000, 466_200)
    assert province.gates is not None
    assert len(province.gates) == 4_200
    assert province.bytes < 40 * 2**20
    for rows, share in ((province.shops, 0.711), (province.machines, 0.54)):
        some_ = [rows.terminal(n) for n in range(3_000, 13_000)]
        assert sum("contactless" in one.capabilities for one in some_) == pytest.approx(share * 10_000, abs=3)
        assert all("contact" in one.capabilities for one in some_)
        assert sum(one.suite == "sm4" for one in some_) == pytest.approx(3_333, abs=1)
        assert len({one.tid for one in some_}) == len({one.tmk for one in some_}) == 10_000
    machines = [province.machines.terminal(n).mid for n in range(19_000)]
    assert len(set(machines)) == 19_000
    assert all(len(mid) == 15 for mid in machines)
    taps = [gate.fare for gate in (province.gates.take(n) for n in range(4_200)) if gate.fare is not None]
    assert len(taps) == 4_200
    assert sum(taps) / 4_200 == pytest.approx(109, abs=0.5)
    assert set(taps) == {100, 200}
