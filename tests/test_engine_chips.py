"""Chips at the switch: DE55 and DE60 both ways, uploads once, loads, notices, reversals, fallback, who needs no PIN."""

import itertools
import random
import sqlite3
from typing import Any

import msgspec
import pytest
from chip_requests import ISSUER_SAYS, Counter, icc_data
from engine_requests import authentic, seal
from house import House

from switch.app.explain import rows
from switch.clearing.schema import SWITCH_TABLES
from switch.engine.office import STORE
from switch.wire import icc, tlv
from switch.wire.chips import ChipTable, NoPin
from switch.wire.codes import NETWORK_MANAGEMENT
from switch.wire.dialects import NETWORK, POS
from switch.wire.errors import TlvError
from switch.wire.message import Message
from switch.wire.private_network import read_60 as net60
from switch.wire.private_network import read_90, read_original_amount
from switch.wire.profile import NetworkChipSection, PosChipSection, PosProfile, load_profile
from switch.wire.transactions import BY_NAME, CHIP_TWINS, ROWS


@pytest.fixture
def counter() -> Counter:
    return Counter()


def with_chips(**changes: Any) -> PosProfile:
    shipped = load_profile("unionpay-pos")
    assert isinstance(shipped, PosProfile)
    return msgspec.structs.replace(shipped, chips=PosChipSection(**changes))


# DE55 in one pass


def test_the_fast_reader_says_what_the_careful_one_says() -> None:
    data = icc_data(1234, 7, e_cash=True)
    assert icc.scan(data) == {int(tag, 16): value for tag, value in tlv.read(data)}
    assert icc.scan(data)[icc.ATC] == b"\x00\x07"
    long = tlv.write([("9F10", bytes(200)), ("DF8101", b"\x01"), ("9F36", b"\x00\x01")])
    assert icc.scan(long) == {0x9F10: bytes(200), 0xDF8101: b"\x01", 0x9F36: b"\x00\x01"}


@pytest.mark.parametrize(
    "bad", ["9F36", "9F3602", "9F360200", "00", "9F36800000", "9F", "9F3683000002", "9F3602000195", "DF81818101FF"]
)
def test_what_makes_no_sense_is_told_by_the_careful_reader(bad: str) -> None:
    with pytest.raises(TlvError):
        icc.scan(bytes.fromhex(bad))


def test_a_cryptogram_by_its_upper_bits() -> None:
    kinds = {cid: icc.cryptogram({icc.CID: bytes((cid,))}) for cid in (0x40, 0x80, 0x00, 0xC0, 0x4B)}
    assert kinds == {0x40: icc.TC, 0x80: icc.ARQC, 0x00: icc.AAC, 0xC0: -1, 0x4B: icc.TC}
    assert icc.cryptogram({}) == icc.cryptogram({icc.CID: b"\x40\x40"}) == -1


# a sale, both ways


@pytest.mark.parametrize(
    ("entry", "reader", "wanted"),
    [
        ("052", "60", "0000060003000000000000121"),
        ("071", "61", "0000061003000000000000121"),
        ("952", "50", "0000050003010000000000121"),
        ("052", "", "0000060003000000000000121"),
    ],
)
def test_a_sale_and_its_answer(counter: Counter, entry: str, reader: str, wanted: str) -> None:
    data = icc_data(1000, 17)
    counter.far.icc = ISSUER_SAYS
    reply = counter.do("sale", 1000, entry, data, reader=reader)
    request = counter.far.asked[-1]
    assert (request.mti, request.fields[22], request.fields[23]) == ("0200", entry, "001")
    assert request.fields[55] == data
    assert request.fields[14] == counter.card.expiry
    assert request.fields[60] == wanted
    assert (reply.fields[39], reply.fields[55]) == ("00", ISSUER_SAYS)
    assert authentic(counter.memory, reply)
    row = counter.row("answered")
    assert (row["psn"], row["atc"], row["entry_mode"], row["icc_sealed"]) == ("001", "0011", entry, b"")
    assert row["read"] == (reader or "00") + "01"


def test_an_answer_that_declines_still_carries_what_the_issuer_tells_the_chip(counter: Counter) -> None:
    counter.far.icc, counter.far.code = ISSUER_SAYS, "05"
    reply = counter.do("sale", 1000, icc=icc_data(1000, 18))
    assert (reply.fields[39], reply.fields[55]) == ("05", ISSUER_SAYS)
    assert 64 not in reply.fields


def test_a_stripe_s_de60_ends_where_it_did(counter: Counter) -> None:
    fields = counter.fields("sale", 1000, "022", reader="20", de35=counter.card.track2.replace("=", "D"))
    assert counter.ask("0200", fields).fields[39] == "00"
    assert counter.far.asked[-1].fields[60] == "00000200030000000000001"


def test_a_line_that_wants_no_medium(counter: Counter) -> None:
    line = counter.house.engine.office.counterparts["cups"]
    line.profile = msgspec.structs.replace(line.profile, chips=NetworkChipSection(medium=False))
    counter.do("sale", 1000, icc=icc_data(1000, 17))
    assert counter.far.asked[-1].fields[60] == "00000600030000000000001"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x9f\x36\x02\x00", bytes.fromhex("9F36020001") + b"\x00", bytes.fromhex("9F3680000100"),
        tlv.write([("9F26", bytes(8))]), tlv.write([("9F36", b"\x01")]), None,
    ],
    ids=["empty", "cut", "fill", "indefinite", "no count", "short count", "none at all"],
)  # fmt: skip
def test_de55_that_cannot_be_used(counter: Counter, data: bytes | None) -> None:
    reply = counter.do("sale", 1000, icc=data)
    assert reply.fields[39] == "30"
    assert counter.far.asked == []
    assert counter.row("refused")["response_code"] == "30"
    assert counter.do("sale", 1000, icc=icc_data(1000, 3)).fields[39] == "00"


def test_a_profile_may_do_without_de55() -> None:
    counter = Counter(House(pos=with_chips(icc_required=False)))
    assert counter.do("sale", 1000).fields[39] == "00"
    assert counter.far.asked[-1].fields[60] == "00000600030000000000001"


# no PIN, no signature


LIMIT = 100_000


def rule(merchants: Any, bins: tuple[str, ...], excluded: tuple[str, ...] = ()) -> ChipTable:
    return ChipTable((), (), NoPin(limit_minor=LIMIT, merchants=merchants, bins=bins, excluded=excluded))


def test_a_pin_is_needed_in_ten_of_twelve(counter: Counter) -> None:
    flags = {}
    for n, (amount, enrolled, known) in enumerate(
        itertools.product((LIMIT - 1, LIMIT, LIMIT + 1), (True, False), (True, False))
    ):
        mids = (counter.memory.mid,) if enrolled else ("999999999999999",)
        counter.house.engine.office.chips = rule(mids, (counter.card.pan[:6] if known else "999999",))
        assert counter.do("sale", amount, "072", icc_data(amount, n)).fields[39] == "00"
        flags[amount, enrolled, known] = net60(counter.far.asked[-1].fields[60]).no_pin
    assert [case for case, flag in flags.items() if flag == "1"] == [(LIMIT - 1, True, True), (LIMIT, True, True)]
    assert list(flags.values()).count("0") == 10


@pytest.mark.parametrize(
    ("kind", "entry", "more"),
    [
        ("sale", "052", {}),
        ("sale", "982", {}),
        ("preauth", "072", {}),
        ("sale", "071", {"de52": bytes(8), "de26": "12", "de53": "2600000000000000"}),
    ],
)
def test_only_a_contactless_sale_without_pin_is_small(
    counter: Counter, kind: str, entry: str, more: dict[str, Any]
) -> None:
    counter.house.engine.office.chips = rule("all", (counter.card.pan[:6],))
    if "de52" in more:
        more["de52"] = counter.memory.pinpad.pin_block("123456", counter.card.pan, "iso0")
    assert counter.do(kind, 1000, entry, icc_data(1000, 1), **more).fields[39] == "00"
    assert net60(counter.far.asked[-1].fields[60]).no_pin == "0"
    assert counter.do("sale", 1000, "072", icc_data(1000, 2)).fields[39] == "00"
    assert net60(counter.far.asked[-1].fields[60]).no_pin == "1"
    counter.house.engine.office.chips = rule("all", (counter.card.pan[:6],), (counter.card.pan[:8],))
    counter.do("sale", 1000, "072", icc_data(1000, 3))
    assert net60(counter.far.asked[-1].fields[60]).no_pin == "0", "excluded by name"


# the stripe of a chip card


def swipe(counter: Counter, service: str, entry: str, reader: str, kind: str = "sale") -> Message:
    track = f"{counter.card.pan}D{counter.card.expiry}{service}0000123"
    return counter.do(kind, 1000, entry, reader=reader, de35=track)


@pytest.mark.parametrize(
    ("service", "entry", "reader", "code", "condition"),
    [
        ("201", "022", "60", "58", ""),
        ("620", "022", "50", "58", ""),
        ("201", "022", "61", "58", ""),
        ("201", "022", "62", "00", "62"),
        ("201", "802", "60", "00", "62"),
        ("201", "022", "20", "00", "20"),
        ("201", "022", "", "00", "20"),
        ("101", "022", "60", "00", "60"),
    ],
)
def test_a_composite_card(counter: Counter, service: str, entry: str, reader: str, code: str, condition: str) -> None:
    assert swipe(counter, service, entry, reader).fields[39] == code
    if code == "58":
        assert counter.far.asked == []
        assert counter.row("refused")["response_code"] == "58"
        return
    request = counter.far.asked[-1].fields
    assert request[22] == entry
    assert request[60][5:7] == condition
    assert len(request[60]) == 23


@pytest.mark.parametrize(
    ("chips", "marked02", "marked80", "plain"),
    [
        ({"fallback": ("02",)}, "00", "58", "58"),
        ({"fallback": ("80",)}, "58", "00", "58"),
        ({"fallback": ()}, "58", "58", "58"),
        ({"stripe_refused": "57"}, "00", "00", "57"),
        ({"stripe_refused": ""}, "00", "00", "00"),
    ],
)
def test_fallback_by_profile(chips: dict[str, Any], marked02: str, marked80: str, plain: str) -> None:
    counter = Counter(House(pos=with_chips(**chips)))
    codes = [swipe(counter, "220", *how).fields[39] for how in (("022", "62"), ("802", "60"), ("022", "60"))]
    assert codes == [marked02, marked80, plain]


def test_a_void_by_the_stripe_is_not_a_new_reading(counter: Counter) -> None:
    sold = counter.do("sale", 1000, icc=icc_data(1000, 5))
    track = f"{counter.card.pan}D{counter.card.expiry}2010000123"
    more = {"de35": track, "de37": sold.fields[37], "de61": counter.memory.batch + sold.fields[11]}
    assert counter.do("sale_void", 1000, "022", **more).fields[39] == "00"


# offline sales


def test_an_upload(counter: Counter) -> None:
    reply = counter.upload(2500, 9)
    request = counter.far.asked[-1]
    assert (request.mti, request.fields[3], request.fields[25]) == ("0220", "000000", "00")
    assert icc.scan(request.fields[55])[icc.ARC] == b"Y1"
    assert net60(request.fields[60])[-7:-4] == ("1", "2", "2"), "electronic cash on a chip"
    assert not request.fields.keys() & {35, 36, 38, 52, 90}
    assert (reply.mti, reply.fields[39], reply.fields[15]) == ("0210", "00", "1028")
    assert authentic(counter.memory, reply)
    assert counter.house.engine.office.books.totals(counter.memory.tid, counter.memory.batch) == (2500, 1, 0, 0)
    assert counter.row("answered")["kind"] == "chip_offline_sale"


def test_the_same_certificate_again_is_94(counter: Counter) -> None:
    first = counter.upload(2500, 9)
    assert counter.upload(2500, 9, stan=first.fields[11]).fields[39] == "94"
    assert counter.upload(2500, 9).fields[39] == "94", "under another STAN"
    assert len(counter.far.asked) == 1
    assert counter.upload(2500, 10).fields[39] == "00"
    counter.house.restart_switch()
    assert counter.upload(2500, 9).fields[39] == "94"
    assert counter.upload(2500, 10).fields[39] == "94"
    assert counter.upload(2500, 11).fields[39] == "00"
    assert counter.house.engine.office.books.totals(counter.memory.tid, counter.memory.batch) == (7500, 3, 0, 0)


def test_a_refused_certificate_does_not_use_up_its_count(counter: Counter) -> None:
    counter.far.code = "63"
    forged = counter.upload(2500, 9)
    assert forged.fields[39] == "63"
    assert counter.upload(2500, 9, stan=forged.fields[11]).fields[39] == "63", "the first answer again"
    assert len(counter.far.asked) == 1
    counter.far.code = "00"
    assert counter.upload(2500, 9).fields[39] == "00"
    counter.house.restart_switch()
    assert counter.upload(2500, 9).fields[39] == "94"


def test_a_decline_of_the_card_s_own_is_listed_and_moves_nothing(counter: Counter) -> None:
    reply = counter.upload(2500, 9, cid=0)
    assert reply.fields[39] == "00"
    assert counter.far.asked == []
    assert (counter.row("refused")["response_code"], counter.row("refused")["amount"]) == ("Z1", 2500)
    assert counter.upload(2500, 9, stan=reply.fields[11], cid=0).fields[39] == "00"
    assert counter.house.engine.office.books.totals(counter.memory.tid, counter.memory.batch) == (0, 0, 0, 0)
    assert len(counter.house.of("journal")) == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (icc_data(2501, 9, 0x40, b"Y1"), "64"),
        (icc_data(2500, 9, 0x80, b"Y1"), "30"),
        (icc_data(2500, 9, 0xC0, b"Y1"), "30"),
        (icc_data(2500, 9, 0x40), "30"),
    ],
    ids=["another amount", "ARQC", "no cryptogram", "no 8A"],
)
def test_uploads_that_cannot_be(counter: Counter, data: bytes, code: str) -> None:
    assert counter.do("chip_offline_sale", 2500, "051", data, de63=b"CUP").fields[39] == code
    assert counter.far.asked == []


def test_an_upload_without_a_line_is_kept_and_told_whole(counter: Counter) -> None:
    house = counter.house
    house.disconnect("cups")
    reply = counter.upload(2500, 9)
    assert reply.fields[39] == "00"
    sealed = counter.row("stored")["icc_sealed"]
    assert sealed
    assert house.engine.office.hsm.open(STORE, sealed, b"55" + counter.row("stored")["rrn"].encode()) == icc_data(
        2500, 9, 0x40, b"Y1", e_cash=True
    )
    house.restart_switch()
    assert [m.mti for m in counter.far.asked] == ["0220"]
    request = counter.far.asked[-1].fields
    assert request[55] == icc_data(2500, 9, 0x40, b"Y1", e_cash=True)
    assert (request[23], request[60][5:6], request[60][-2:]) == ("001", "6", "22")
    assert counter.row("delivered")["icc_sealed"] == b""
    assert counter.upload(2500, 9).fields[39] == "94"


def test_an_upload_in_doubt_is_told_again_not_reversed(counter: Counter) -> None:
    counter.far.silent = True
    assert counter.upload(2500, 9).fields[39] == "00"
    assert {m.mti for m in counter.far.asked} == {"0220"}
    counter.far.silent = False
    counter.house.pass_time(120)
    assert counter.row("delivered")["response_code"] == "00"
    assert counter.far.asked[-1].fields[55] == counter.far.asked[0].fields[55]
    assert counter.far.asked[-1].fields[7] == counter.far.asked[0].fields[7]


@pytest.mark.parametrize("closed", [False, True])
def test_a_refund_of_an_upload_that_was_taken_under_another_number(counter: Counter, closed: bool) -> None:
    """The terminal counts 94 as delivered and knows no other number."""
    first, again = counter.upload(2500, 9), counter.upload(2500, 9)
    assert (first.fields[39], again.fields[39]) == ("00", "94")
    books, memory = counter.house.engine.office.books, counter.memory
    if closed:
        books.close_batch(memory.tid, int(counter.house.wall * 1000), 86_400_000)
        assert books.exchanges == {}
    more = {
        "de61": f"{memory.batch}{again.fields[11]}1028", "de62": memory.tid.encode(), "de63": b"01 ",
    }  # fmt: skip
    assert counter.do("chip_offline_refund", 2000, "052", **more).fields[39] == "00"
    assert books.by_rrn[first.fields[37]].refunded == 2000
    assert counter.row("answered")["original_rrn"] == first.fields[37]
    assert counter.do("chip_offline_refund", 501, "052", **more).fields[39] == "64"


@pytest.mark.parametrize("code", ["63", "94"])
def test_a_kept_upload_refused_later_is_suspicious(counter: Counter, code: str) -> None:
    counter.house.disconnect("cups")
    assert counter.upload(2500, 9).fields[39] == "00"
    counter.far.code = code
    counter.house.connect("cups")
    assert counter.row("suspicious")["reason"] == code
    assert counter.house.engine.status()["suspicious"] == 1


def test_a_refund_of_an_offline_sale(counter: Counter) -> None:
    sold = counter.upload(2500, 9)
    more = {
        "de61": counter.memory.batch + sold.fields[11] + "1028", "de62": counter.memory.tid.encode(), "de63": b"01 ",
    }  # fmt: skip
    reply = counter.do("chip_offline_refund", 2000, "052", **more)
    assert (reply.mti, reply.fields[39]) == ("0230", "00")
    request = counter.far.asked[-1]
    assert (request.mti, request.fields[3], request.fields[25]) == ("0220", "200000", "69")
    assert read_original_amount(request.fields[48]) == 2500
    assert read_90(request.fields[90]).stan == counter.far.asked[0].fields[11]
    assert counter.do("chip_offline_refund", 501, "052", **more).fields[39] == "64"
    more["de62"] = b"99999999"
    assert counter.do("chip_offline_refund", 100, "052", **more).fields[39] == "25"
    assert counter.house.engine.office.books.totals(counter.memory.tid, counter.memory.batch) == (2500, 1, 2000, 1)


def test_another_card_of_the_same_number_counts_for_itself(counter: Counter) -> None:
    assert counter.upload(2500, 9).fields[39] == "00"
    assert counter.upload(2500, 9, de23="002").fields[39] == "00"
    assert counter.upload(2500, 9, de23="002").fields[39] == "94"


@pytest.mark.parametrize("last_words", [False, True])
@pytest.mark.parametrize("at", [1, 2])
def test_the_switch_dies_while_an_upload_is_under_way(counter: Counter, at: int, last_words: bool) -> None:
    house = counter.house
    data = icc_data(2500, 9, 0x40, b"Y1", e_cash=True)
    fields = counter.fields("chip_offline_sale", 2500, "071", data, de63=b"CUP")
    house.crash_at, house.last_words = len(house.rows) + at, last_words
    house.ask(seal(house, counter.memory, "0200", fields))
    assert house.dead
    house.restart_switch()
    assert counter.ask("0200", fields).fields[39] == "94", "taken, and told again by the switch itself"
    assert len({(m.fields[7], m.fields[11]) for m in counter.far.asked}) == 1, "one key on the line"
    assert {m.fields[55] for m in counter.far.asked} == {data}
    assert house.engine.office.books.totals(counter.memory.tid, counter.memory.batch) == (2500, 1, 0, 0)


# what is not there, or makes no sense


def whole(counter: Counter, kind: str) -> dict[int, Any]:
    """A request of a kind with all it must carry; what it speaks of stands in the books."""
    sold = counter.do("load_cash", 5000, "052", icc_data(5000, 1)) if BY_NAME[kind].original else None
    amount = 5000 if BY_NAME[kind].amount else 0
    tc = kind == "chip_offline_sale"
    data = icc_data(amount, 2, 0x40 if tc else 0x80, b"Y1" if tc else b"")
    fields = counter.fields(kind, amount, "052", data if 55 in BY_NAME[kind].mandatory else None)
    if sold is not None:
        fields |= {37: sold.fields[37], 61: counter.memory.batch + sold.fields[11]}
    if kind == "script_notice":
        fields |= {3: "630000", 25: "91"}
    extra = {48: "0520", 62: counter.memory.tid.encode() if kind == "chip_offline_refund" else b"6212140000000000"}
    extra[63] = b"01 "
    return fields | {de: value for de, value in extra.items() if de in BY_NAME[kind].mandatory}


ABSENT = [(row.name, de) for row in ROWS if row.chip for de in row.mandatory]


@pytest.mark.parametrize(("kind", "de"), ABSENT, ids=[f"{kind}-DE{de}" for kind, de in ABSENT])
def test_a_mandatory_field_is_absent(counter: Counter, kind: str, de: int) -> None:
    fields = whole(counter, kind)
    posted, asked = len(counter.house.rows), len(counter.far.asked)
    assert de in fields
    del fields[de]
    reply = counter.ask(BY_NAME[kind].mti, fields)
    assert reply.fields[39] == "30"
    assert (len(counter.house.rows), len(counter.far.asked)) == (posted, asked)


@pytest.mark.parametrize("kind", [row.name for row in ROWS if row.chip and row.name != "chip_offline_refund"])
def test_what_is_whole_passes(counter: Counter, kind: str) -> None:
    assert counter.ask(BY_NAME[kind].mti, whole(counter, kind)).fields[39] == "00"


def test_whatever_stands_in_de55_is_answered(counter: Counter) -> None:
    draw = random.Random(4)
    seen = set()
    for n in range(250):
        data = bytearray(icc_data(1000, n, e_cash=True))
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        del data[draw.choice((len(data), draw.randrange(1, len(data)))) :]
        kind, mti = draw.choice((("sale", "0200"), ("chip_offline_sale", "0200"), ("script_notice", "0620")))
        fields = counter.fields(kind, 1000, "051", bytes(data), de63=b"CUP", de61=counter.memory.batch + "0000011028")
        if kind == "script_notice":
            fields |= {3: "000000", 25: "00"}
        reply = counter.ask(mti, fields)
        seen.add(reply.fields[39])
    assert seen <= {"00", "30", "25", "64", "94"}
    assert {"00", "30"} <= seen
    assert counter.house.engine.status()["violations"] == {
        "link_key_reused": 0, "stored_key_reused": 0, "answered_twice": 0,
    }  # fmt: skip


# loads


def load(counter: Counter, kind: str, amount: int = 5000, atc: int = 20, **more: Any) -> Message:
    if kind == "load_other":
        paying = counter.house.card(2)
        more |= {"de2": paying.pan, "de14": paying.expiry, "de48": "0520", "de62": counter.card.pan.encode()}
    return counter.do(kind, amount, "051", icc_data(amount, atc), **more)


@pytest.mark.parametrize(
    ("kind", "code"), [("load_designated", "600000"), ("load_other", "620000"), ("load_cash", "630000"),
                       ("load_takeup", "640000")],
)  # fmt: skip
def test_a_load(counter: Counter, kind: str, code: str) -> None:
    counter.far.icc = ISSUER_SAYS
    reply = load(counter, kind)
    assert (reply.fields[39], reply.fields[55]) == ("00", ISSUER_SAYS)
    request = counter.far.asked[-1].fields
    assert (request[3], request[25], request[60][-2:]) == (code, "91", "22")
    assert (4 in request) == (kind != "load_takeup")
    if kind == "load_other":
        paying = counter.house.card(2).pan
        assert (request[2], request[102], request[103]) == (paying, paying, counter.card.pan)
        assert request[48] == b"ASLE0040520"
    else:
        assert not request.keys() & {48, 102, 103}
    assert counter.house.engine.office.books.totals(counter.memory.tid, counter.memory.batch) == (0, 0, 0, 0)


def test_a_load_with_cash_and_its_void(counter: Counter) -> None:
    loaded = load(counter, "load_cash")
    more = {"de37": loaded.fields[37], "de61": counter.memory.batch + loaded.fields[11]}
    reply = counter.do("load_cash_void", 5000, "052", icc_data(5000, 21), **more)
    assert reply.fields[39] == "00"
    request = counter.far.asked[-1]
    assert (request.mti, request.fields[3], request.fields[25]) == ("0200", "170000", "91")
    assert read_90(request.fields[90]).stan == counter.far.asked[0].fields[11]
    assert counter.do("load_cash_void", 5000, "052", icc_data(5000, 22), **more).fields[39] == "12"


@pytest.mark.parametrize(
    ("loads", "totals"), [("none", (0, 0, 0, 0)), ("debit", (8000, 2, 0, 0)), ("credit", (0, 0, 8000, 2))]
)
def test_loads_in_the_totals_by_profile(loads: str, totals: tuple[int, ...]) -> None:
    counter = Counter(House(pos=with_chips(loads=loads)))
    load(counter, "load_designated", 5000, 20)
    load(counter, "load_cash", 3000, 21)
    load(counter, "load_takeup", 0, 22)
    assert counter.house.engine.office.books.totals(counter.memory.tid, counter.memory.batch) == totals


def test_a_load_nobody_answered_is_reversed_by_its_count(counter: Counter) -> None:
    counter.far.silent = True
    assert load(counter, "load_designated").fields[39] == "98"
    counter.far.silent = False
    counter.house.pass_time(120)
    reversal = counter.far.asked[-1]
    assert (reversal.mti, reversal.fields[3]) == ("0420", "600000")
    assert icc.scan(reversal.fields[55]) == {icc.ATC: b"\x00\x14"}
    assert reversal.fields[23] == "001"
    assert reversal.fields[60][-2:] == "22"


def test_a_take_up_nobody_answered_is_not_reversed(counter: Counter) -> None:
    counter.far.silent = True
    assert load(counter, "load_takeup").fields[39] == "98"
    assert [m.mti for m in counter.far.asked] == ["0200"]


# reversals


TOLD = {icc.TVR: bytes(5), icc.IAD: bytes(8), icc.ATC: b"\x00\x11", icc.SCRIPT_RESULT: bytes.fromhex("2000000001")}


@pytest.mark.parametrize("restart", [False, True])
def test_a_terminal_s_reversal_carries_its_chip_s_words(counter: Counter, restart: bool) -> None:
    fields = counter.fields("sale", 1000, icc=icc_data(1000, 0x11))
    assert counter.ask("0200", fields).fields[39] == "00"
    told = tlv.write([("5A", b"\x62\x12"), *((f"{tag:X}", value) for tag, value in TOLD.items())])
    counter.far.silent = restart
    reply = counter.ask("0400", {**fields, 39: "06", 55: told})
    assert (reply.mti, reply.fields[39]) == ("0410", "00")
    if restart:
        counter.far.silent = False
        counter.house.restart_switch()
    reversal = counter.far.asked[-1].fields
    assert icc.scan(reversal[55]) == TOLD, "and nothing else of DE55"
    assert (reversal[23], reversal[22]) == ("001", "052")
    assert reversal[60] == "4351060003000000000000121"
    assert counter.row("reversal_acked")["icc_sealed"] == b""


def test_a_reversal_with_a_broken_de55(counter: Counter) -> None:
    fields = counter.fields("sale", 1000, icc=icc_data(1000, 0x11))
    counter.ask("0200", fields)
    assert counter.ask("0400", {**fields, 39: "06", 55: b"\x9f\x36\x02\x00"}).fields[39] == "30"
    assert counter.house.engine.office.books.exchanges[counter.memory.tid, counter.memory.batch, fields[11]].counts


# script result notices


def notice(counter: Counter, sold: Message, stan: str = "", **more: Any) -> Message:
    data = icc_data(1000, 0x11, DF31=bytes.fromhex("2000000001"))
    fields = counter.fields("script_notice", 0, "052", data, stan)
    fields |= {3: sold.fields[3], 25: sold.fields[25], 60: "00" + counter.memory.batch + "95160"}
    fields |= {61: counter.memory.batch + sold.fields[11] + "1028", 4: sold.fields[4]}
    return counter.ask("0620", fields | {int(de[2:]): value for de, value in more.items()})


def test_a_script_notice(counter: Counter) -> None:
    sold = load(counter, "load_designated", 5000, 0x11)
    reply = notice(counter, sold)
    assert (reply.mti, reply.fields[39]) == ("0630", "00")
    request = counter.far.asked[-1]
    assert (request.mti, request.fields[3], request.fields[25]) == ("0620", "600000", "91")
    assert (request.fields[4], request.fields[39], request.fields[70]) == ("000000005000", "00", "951")
    assert icc.scan(request.fields[55])[icc.SCRIPT_RESULT] == bytes.fromhex("2000000001")
    elements = read_90(request.fields[90])
    assert (elements.mti, elements.stan) == ("0200", counter.far.asked[0].fields[11])
    assert not request.fields.keys() & {38, 128}
    again = notice(counter, sold, stan=reply.fields[11])
    assert (again.fields[39], len(counter.far.asked)) == ("00", 2), "the first answer again"
    assert counter.house.engine.office.books.totals(counter.memory.tid, counter.memory.batch) == (0, 0, 0, 0)


def test_a_notice_by_profile(counter: Counter) -> None:
    line = counter.house.engine.office.counterparts["cups"]
    chips = NetworkChipSection(notice_mac=True, notice_codes={"load_other": "650000"})
    line.profile = msgspec.structs.replace(line.profile, chips=chips)
    sold = load(counter, "load_other", 5000, 0x11)
    assert notice(counter, sold).fields[39] == "00"
    request = counter.far.asked[-1].fields
    assert (request[3], request[2]) == ("650000", counter.card.pan), "of the card that was loaded"
    assert len(request[128]) == 8


def test_a_notice_without_a_line_is_kept(counter: Counter) -> None:
    sold = counter.do("sale", 1000, icc=icc_data(1000, 0x11))
    counter.house.disconnect("cups")
    assert notice(counter, sold).fields[39] == "00"
    counter.house.restart_switch()
    request = counter.far.asked[-1]
    assert (request.mti, request.fields[70], request.fields[39]) == ("0620", "951", "00")
    assert icc.scan(request.fields[55])[icc.SCRIPT_RESULT] == bytes.fromhex("2000000001")
    assert 128 not in request.fields
    assert counter.row("delivered")["kind"] == "script_notice"


def test_a_notice_of_nothing_known(counter: Counter) -> None:
    sold = counter.do("sale", 1000, icc=icc_data(1000, 0x11))
    assert notice(counter, sold, de61=counter.memory.batch + "0077771028").fields[39] == "25"
    assert len(counter.far.asked) == 1


# batch upload


def detail(counter: Counter, code: str, stan: str, usage: bytes, data: bytes | None = None) -> str:
    fields = {
        2: counter.card.pan, 4: "000000001000", 11: stan, 22: "050", 23: "001", 41: counter.memory.tid,
        42: counter.memory.mid, 55: icc_data(1000, 0x11, 0x40) if data is None else data,
        60: "00" + counter.memory.batch + code + "60", 62: usage,
    }  # fmt: skip
    return str(counter.ask("0320", fields).fields[39])


def test_the_chip_s_items_of_a_batch(counter: Counter) -> None:
    sold = counter.do("sale", 1000, icc=icc_data(1000, 0x11)).fields[11]
    weak = counter.do("sale", 1000, icc=icc_data(1000, 0x12)).fields[11]
    assert detail(counter, "203", sold, b"610000000000001000156") == "00"
    assert detail(counter, "203", sold, b"610000000000001000156") == "00"
    assert detail(counter, "204", weak, b"71000500000000100015622") == "00"
    assert detail(counter, "206", "000900", b"71001100000000070015610") == "00"
    assert detail(counter, "206", "000900", b"71001100000000070015610") == "00"
    assert detail(counter, "205", "000901", b"610000000000000300156") == "00"
    items = [(row["stan"], row["amount"], row["result"]) for row in counter.house.of("upload")]
    assert items == [
        (sold, 1000, "matched"), (weak, 1000, "matched"), ("000900", 700, "chip_declined"), ("000901", 300, "pos_only"),
    ]  # fmt: skip
    assert detail(counter, "203", sold, b"62") == "30"
    assert detail(counter, "203", sold, b"610000000000001000156", b"\x9f") == "30"


def test_an_offline_sale_in_the_batch(counter: Counter) -> None:
    sold = counter.upload(2500, 9)
    fields = counter.fields("chip_offline_sale", 2500, "070", icc_data(2500, 9, 0x40, b"Y1"), sold.fields[11])
    del fields[64]
    assert counter.ask("0320", {**fields, 63: b"CUP"}).fields[39] == "00"
    assert [(row["stan"], row["result"]) for row in counter.house.of("upload")] == [(sold.fields[11], "matched")]


# rows and secrets


def test_rows_the_network_tells_apart_by_de55() -> None:
    assert CHIP_TWINS == {"offline_sale": "chip_offline_sale"}
    assert BY_NAME["chip_offline_sale"].seen_as == "chip_offline_sale"
    assert BY_NAME["tip"].seen_as == "offline_sale"
    chips = {row.name: row.chip for row in ROWS if row.chip}
    assert chips == {
        "chip_offline_sale": "offline", "chip_offline_refund": "refund", "load_designated": "load",
        "load_other": "load", "load_cash": "load", "load_cash_void": "load", "load_takeup": "takeup",
        "script_notice": "notice",
    }  # fmt: skip
    carrying = {row.name for row in ROWS if row.carries_icc}
    assert {"sale", "preauth", "balance", "atm_withdrawal", "load_cash_void", "script_notice"} <= carrying
    assert not carrying & {"sale_void", "refund", "completion", "moto_sale", "chip_offline_refund", "offline_sale"}


def test_nothing_of_the_card_stands_in_rows_or_status(counter: Counter) -> None:
    secret = bytes.fromhex(counter.card.pan + "F" * (len(counter.card.pan) % 2))
    data = icc_data(1000, 0x11) + tlv.write([("5A", secret), ("57", secret[:8] + b"\xd2\x61\x22")])
    counter.far.icc = ISSUER_SAYS
    sold = counter.do("sale", 1000, icc=data)
    counter.house.disconnect("cups")
    counter.upload(2500, 9)
    notice(counter, sold)
    counter.far.silent = True
    counter.house.connect("cups")
    seen = b"".join(
        value if isinstance(value, bytes) else str(value).encode() for _, row in counter.house.rows for value in row
    )
    for mark in (counter.card.pan.encode(), secret, data, data[:40], bytes.fromhex("07010103A0A80201")):
        assert mark not in seen
        assert mark.hex().upper().encode() not in seen.upper()
    assert counter.card.pan not in str(counter.house.engine.status())


def test_the_journal_takes_its_rows(counter: Counter) -> None:
    """A real table takes what is posted: the columns and their kinds fit."""
    counter.upload(2500, 9)
    base = sqlite3.connect(":memory:")
    for table in SWITCH_TABLES:
        base.execute(table.create())
        for where, row in counter.house.rows:
            if where == table.name:
                base.execute(table.insert(), row)
    assert base.execute("SELECT psn, atc, read FROM journal WHERE state = 'answered'").fetchall() == [
        ("001", "0009", "6002")
    ]


def test_what_a_person_reads_of_the_new_messages(counter: Counter) -> None:
    sold = load(counter, "load_other", 5000, 0x11)
    notice(counter, sold)
    seen = {row.key: row for row in rows(counter.far.asked[-1], NETWORK)}
    assert seen["MTI"].meaning is not None
    assert seen["MTI"].meaning.en == "administrative notice advice"
    assert seen["70"].meaning == NETWORK_MANAGEMENT["951"]
    assert seen["3"].meaning == ("非指定账户圈存", "load from another account")
    assert seen["DF31"].meaning == ("成功 00000001", "done 00000001")
    upload = Message("0200", {55: icc_data(1, 2, 0x40, b"Y1", DF31=bytes.fromhex("0000000000130000000A"))})
    seen = {row.key: row for row in rows(upload, POS)}
    assert seen["8A"].meaning == ("脱机批准", "approved offline")
    assert seen["9F27"].meaning == ("交易证书(TC,脱机批准)", "TC, approved offline")
    assert seen["DF31"].meaning == (
        "未执行 00000000; 第3条指令失败 0000000A", "not performed 00000000; command 3 failed 0000000A",
    )  # fmt: skip
    page = Message("0810", {60: "00000001396", 62: b"1" + tlv.write([("DF21", bytes(6)), ("42", b"\x62\x12\x14")])})
    seen = {row.key: row for row in rows(page, POS)}
    assert (seen["60.3"].meaning, seen["62.42"].value) == (("免密BIN表下载", "no-PIN BIN table download"), "621214")
