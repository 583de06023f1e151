"""Downloads to chip terminals: lists in pages, records, what is announced in the header and when it is not any more."""

from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from chip_requests import Counter
from engine_requests import CODEC, seal

from switch.machine import Link, Send
from switch.wire import tlv
from switch.wire.chips import SHIPPED_CHIPS, AidRecord, CaKeyRecord, ChipTable, ChipTableError, NoPin, load_chips
from switch.wire.framing import PosHeader
from switch.wire.private_62 import read_listing

RID = "A000000333"
MODULUS = "C1" * 128


def key(n: int, algorithm: Any = "rsa") -> CaKeyRecord:
    if algorithm == "sm2":
        return CaKeyRecord(rid=RID, index=f"{n:02X}", expiry="20301231", algorithm="sm2", key="5A" * 64,
                           checksum="11" * 32)  # fmt: skip
    return CaKeyRecord(rid=RID, index=f"{n:02X}", expiry="20301231", key=MODULUS)


def table(keys: int = 2, bins: tuple[str, ...] = ("621214", "62000001"), **more: Any) -> ChipTable:
    aids = (AidRecord(aid="A000000333010101"), AidRecord(aid="A000000333010106", e_cash_minor=50_000))
    return ChipTable(aids, (*(key(n) for n in range(1, keys + 1)), key(0xF1, "sm2")), NoPin(bins=bins, **more))


@pytest.fixture
def counter() -> Counter:
    made = Counter()
    made.house.engine.office.chips = table(merchants=(made.memory.mid,))
    return made


def asked(counter: Counter, mti: str, code: str, query: bytes | None = None) -> tuple[str, bytes]:
    """DE39 and DE62 of an answer."""
    fields: dict[int, Any] = {41: counter.memory.tid, 42: counter.memory.mid, 60: "00" + counter.memory.batch + code}
    if query is not None:
        fields[62] = query
    reply = counter.ask(mti, fields)
    return reply.fields[39], reply.fields.get(62, b"")


def test_the_list_of_keys_and_a_key(counter: Counter) -> None:
    listing = read_listing(asked(counter, "0820", "372", b"100")[1])
    assert listing.status == "1"
    rid, expiry = bytes.fromhex(RID), bytes.fromhex("20301231")
    assert listing.items == (
        ("9F06", rid), ("9F22", b"\x01"), ("DF05", expiry), ("9F06", rid), ("9F22", b"\x02"), ("DF05", expiry),
    )  # fmt: skip
    code, data = asked(counter, "0800", "370", tlv.write([("9F06", rid), ("9F22", b"\x02")]))
    record = dict(read_listing(data).items)
    assert (code, data[:1]) == ("00", b"1")
    assert list(record) == ["9F06", "9F22", "DF05", "DF06", "DF07", "DF02", "DF04", "DF03"]
    assert (record["DF06"], record["DF07"], record["DF04"]) == (b"\x01", b"\x01", b"\x03")
    assert record["DF02"] == bytes.fromhex(MODULUS)
    assert record["DF03"] == sha1(rid + b"\x02" + bytes.fromhex(MODULUS) + b"\x03").digest()
    assert asked(counter, "0800", "370", tlv.write([("9F06", rid), ("9F22", b"\x09")])) == ("00", b"0")


def test_keys_of_sm2_have_a_list_of_their_own(counter: Counter) -> None:
    listing = read_listing(asked(counter, "0820", "373", b"100")[1])
    assert dict(listing.items)["9F22"] == b"\xf1"
    wanted = tlv.write([("9F06", bytes.fromhex(RID)), ("9F22", b"\xf1")])
    record = dict(read_listing(asked(counter, "0800", "373", wanted)[1]).items)
    assert (record["DF06"], record["DF07"], len(record["DF02"]), record["DF03"]) == (
        b"\x07", b"\x04", 64, b"\x11" * 32,
    )  # fmt: skip
    assert asked(counter, "0800", "370", wanted)[1] == b"0"


def test_a_long_list_comes_in_pages(counter: Counter) -> None:
    counter.house.engine.office.chips = table(keys=60)
    got: list[bytes] = []
    states = []
    while not states or states[-1] == "2":
        code, data = asked(counter, "0820", "372", b"1%02d" % len(got))
        assert code == "00"
        assert len(data) <= 512
        listing = read_listing(data)
        states.append(listing.status)
        got += [value for tag, value in listing.items if tag == "9F22"]
    assert states == ["2", "2", "1"]
    assert got == [bytes((n,)) for n in range(1, 61)]
    assert asked(counter, "0820", "372", b"160")[1] == b"0"


def test_applications(counter: Counter) -> None:
    listing = read_listing(asked(counter, "0820", "382", b"100")[1])
    assert [value.hex().upper() for _, value in listing.items] == ["A000000333010101", "A000000333010106"]
    code, data = asked(counter, "0800", "380", tlv.write([listing.items[1]]))
    record = dict(read_listing(data).items)
    assert code == "00"
    assert record == {
        "9F06": bytes.fromhex("A000000333010106"), "DF01": b"\x00", "9F08": bytes.fromhex("0020"),
        "DF11": bytes.fromhex("D84000A800"), "DF12": bytes.fromhex("D84004F800"), "DF13": bytes.fromhex("0010000000"),
        "9F1B": bytes(4), "DF15": bytes(4), "DF16": b"\x00", "DF17": b"\x00", "DF14": bytes.fromhex("9F3704"),
        "DF18": b"\x01", "9F7B": bytes.fromhex("000000050000"), "DF19": bytes.fromhex("000000100000"),
        "DF20": bytes.fromhex("000001000000"), "DF21": bytes.fromhex("000000100001"),
    }  # fmt: skip


def test_contactless_limits_and_bins(counter: Counter) -> None:
    limits = read_listing(asked(counter, "0800", "394")[1])
    assert limits.status == "1"
    assert [tag for tag, _ in limits.items] == ["9F06", "DF19", "DF20", "DF21"] * 2
    bins = read_listing(asked(counter, "0800", "396")[1])
    assert bins.items == (
        ("DF21", bytes.fromhex("000000100000")), ("42", bytes.fromhex("621214")), ("42", bytes.fromhex("62000001")),
    )  # fmt: skip
    counter.house.engine.office.chips = table(merchants=(), excluded=("6212149",))
    assert read_listing(asked(counter, "0800", "396")[1]).items[0] == ("DF21", bytes(6)), "not enrolled"
    assert read_listing(asked(counter, "0800", "398")[1]).items == (("42", bytes.fromhex("6212149F")),)


def test_a_thousand_bins(counter: Counter) -> None:
    counter.house.engine.office.chips = table(bins=tuple(f"{n:06d}" for n in range(100000, 101000)))
    got = 0
    pages = 0
    while True:
        listing = read_listing(asked(counter, "0800", "396", b"1%02d" % got)[1])
        got += len(listing.items)
        pages += 1
        if listing.status == "1":
            break
    assert (got, pages) == (1001, 11)


@pytest.mark.parametrize(
    ("mti", "code", "query"),
    [
        ("0820", "372", b"1"), ("0820", "382", b"200"), ("0800", "370", b"\x9f"), ("0800", "396", b"1x0"),
        ("0800", "380", b"\x9f\x06\x85"),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_read(counter: Counter, mti: str, code: str, query: bytes) -> None:
    assert asked(counter, mti, code, query) == ("30", b"")


# what is announced


def header_of(counter: Counter, application: str = "61") -> str:
    """The processing requirement in the answer to an echo test of a terminal of this class."""
    house = counter.house
    fields = {41: counter.memory.tid, 42: counter.memory.mid, 60: "00" + counter.memory.batch + "301"}
    link: Link = house.link()
    start = len(house.effects)
    header = bytes.fromhex(application) + house.line.header[1:]
    house.deliver(link, seal(house, counter.memory, "0820", fields), header)
    sends = [e for who, e in house.effects[start:] if who == "switch" and isinstance(e, Send)]
    assert CODEC.decode(sends[-1].body).fields[39] == "00"
    return PosHeader.parse(sends[-1].header).processing


ENDS = (("4", "371"), ("5", "381"), ("9", "395"), ("B", "397"))


def test_what_is_new_is_announced_until_it_is_fetched(counter: Counter) -> None:
    assert header_of(counter, "60") == "0", "a stripe terminal is not told"
    for digit, end in ENDS:
        assert header_of(counter) == header_of(counter) == digit
        assert asked(counter, "0800", end) == ("00", b"")
    assert header_of(counter) == "0"
    assert [row["requirement"] for row in counter.house.of("download")] == ["4", "5", "9", "B"]
    assert asked(counter, "0800", "371") == ("00", b"")
    assert len(counter.house.of("download")) == 4, "nothing new, no row"
    counter.house.engine.office.chips = table(keys=3, merchants=(counter.memory.mid,))
    assert header_of(counter) == "4"
    counter.house.restart_switch()
    counter.house.engine.office.chips = table(keys=3, merchants=(counter.memory.mid,))
    assert header_of(counter) == "4", "what was fetched is remembered, and what was not"
    asked(counter, "0800", "371")
    assert header_of(counter) == "0"
    counter.house.engine.office.chips = table(keys=3, merchants=(counter.memory.mid,), excluded=("62121499",))
    assert header_of(counter) == "C"


def test_a_change_of_who_is_enrolled_is_a_change_of_the_bins(counter: Counter) -> None:
    before = table(merchants=()).versions
    after = table(merchants=("123456789012345",)).versions
    assert {digit for digit in before if before[digit] != after[digit]} == {"B"}


# the file


def test_the_shipped_table() -> None:
    shipped = load_chips()
    assert [entry.listed[0][1].hex()[-2:] for entry in shipped.lists["5"]] == ["01", "02", "03", "06"]
    assert (shipped.lists["4"], shipped.sm2_keys, shipped.versions["4"], shipped.versions["C"]) == ((), (), "", "")
    assert not shipped.without_pin("1" * 15, "6212140000000000", 100)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[no_pin]\nlimit = 5", "limit"),
        ("[no_pin]\nbins = ['62x4']", "'62x4' is not a BIN"),
        ("[no_pin]\nmerchants = 'some'", "merchants"),
        ("[[aids]]\naid = 'A0'", "aids 1 (A0): 1 bytes"),
        ("[[aids]]\naid = 'A000000333010101'\ntac_online = 'D8'", "aids 1"),
        ("[[aids]]\naid = 'A000000333010101'\n[[aids]]\naid = 'a000000333010101'", "aids 2 (a000000333010101): stands"),
        ("[[aids]]\naid = 'A000000333010101'\nfloor_limit_minor = 5000000000", "too big"),
        ("[[aids]]\naid = 'A000000333010101'\nfloor = 1", "floor"),
        (f"[[keys]]\nrid = '{RID}'\nindex = '01'\nexpiry = '20301231'\nkey = 'C1C1'\nchecksum = '{'00' * 20}'",
         "keys 1 (A000000333 01 rsa): checksum"),
        (f"[[keys]]\nrid = '{RID}'\nindex = '01'\nexpiry = '20301231'\nkey = 'C1C1'\nalgorithm = 'sm2'", "64 bytes"),
        ("[[aids]", "at line 1"),
        ("\x00", "chips.toml"),
    ],
)  # fmt: skip
def test_a_table_with_a_fault_is_refused_whole(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "chips.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ChipTableError) as caught:
        load_chips(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_keys_may_stand_in_a_second_file(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(
        f"[[keys]]\nrid = '{RID}'\nindex = '01'\nexpiry = '20301231'\nkey = '{MODULUS}'\n", encoding="utf-8"
    )
    loaded = load_chips(SHIPPED_CHIPS, keys)
    assert len(loaded.lists["4"]) == 1
    assert loaded.versions["5"] == load_chips().versions["5"]
    keys.write_text("[no_pin]\nlimit_minor = 1\n", encoding="utf-8")
    with pytest.raises(ChipTableError, match=r"only \[\[keys\]\]"):
        load_chips(SHIPPED_CHIPS, keys)
    with pytest.raises(ChipTableError, match="No such file"):
        load_chips(tmp_path / "absent.toml")
