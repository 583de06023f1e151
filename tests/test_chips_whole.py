"""Chips through the whole house: a terminal's request with a right cryptogram, the switch, the issuer, and back."""

from typing import Any

import pytest
from chip_card import TestChip
from chip_requests import Counter
from engine_requests import authentic

from switch.wire import icc, tlv
from switch.wire.message import Message


class Shop:
    """A counter on real issuers, and a chip at it."""

    def __init__(self, issuer: int = 1, suite: str = "3des", loaded: int = 0) -> None:
        self.counter = Counter(issuer=issuer, told=False)
        self.house = self.counter.house
        self.chip = TestChip(self.house.portfolio, self.counter.card, suite, balance_minor=0)
        if loaded:
            assert self.load(loaded).fields[39] == "00"

    def do(self, kind: str, amount: int, entry: str = "052", data: bytes | None = None, **more: Any) -> Message:
        data = self.chip.icc(amount) if data is None else data
        return self.counter.do(kind, amount, entry, data, de23="000", **more)

    def load(self, amount: int) -> Message:
        """A load from the card's account, whose command the chip carries out."""
        block = self.counter.memory.pinpad.pin_block(self.counter.card.pin, self.counter.card.pan, "iso0")
        reply = self.do("load_designated", amount, "051", de52=block, de26="12", de53="2600000000000000")
        if reply.fields[39] == "00":
            self.chip.takes(reply.fields[55])
        return reply

    def upload(self, data: bytes, amount: int, stan: str = "") -> Message:
        return self.counter.do("chip_offline_sale", amount, "072", data, stan, de23="000", de63=b"CUP")

    def said(self) -> Message:
        """The last message over a line."""
        name, _ = self.house.engine.office.routes.of(self.counter.card.pan)
        return self.house.said(name)[-1]


@pytest.mark.parametrize("issuer", [0, 1], ids=["core", "cups"])
@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_a_sale_is_answered_with_an_arpc(issuer: int, suite: str) -> None:
    shop = Shop(issuer, suite)
    data = shop.chip.icc(1000)
    reply = shop.do("sale", 1000, data=data)
    assert reply.fields[39] == "00"
    assert authentic(shop.counter.memory, reply)
    assert shop.chip.takes(reply.fields[55]) == {}
    assert shop.said().fields[55] == data


def test_a_changed_amount_is_the_issuer_s_to_refuse() -> None:
    shop = Shop()
    reply = shop.do("sale", 1001, data=shop.chip.icc(1000))
    assert reply.fields[39] not in ("00", "30")
    assert shop.do("sale", 1000).fields[39] == "00"


def test_a_load_its_notice_and_what_is_paid_from_it() -> None:
    shop = Shop()
    loaded = shop.load(20_000)
    assert loaded.fields[39] == "00"
    assert shop.chip.balance_minor == 20_000
    script = tlv.find(tlv.read(loaded.fields[55]), "72")
    assert script is not None
    result = b"\x20" + dict(tlv.read(script))["9F18"]
    fields = shop.counter.fields("script_notice", 0, "052", shop.chip.icc(20_000, atc=shop.chip.atc, tDF31=result))
    memory = shop.counter.memory
    fields |= {3: "600000", 23: "000", 25: "91", 60: "00" + memory.batch + "95160"}
    fields[61] = memory.batch + loaded.fields[11] + "1028"
    assert shop.counter.ask("0620", fields).fields[39] == "00"
    first = shop.chip.pay(1500)
    assert shop.upload(first, 1500).fields[39] == "00"
    assert shop.upload(first, 1500).fields[39] == "94"
    second = shop.chip.pay(2500)
    assert shop.upload(second, 2500).fields[39] == "00"
    assert shop.chip.balance_minor == 16_000
    assert shop.house.engine.office.books.totals(memory.tid, memory.batch) == (4000, 2, 0, 0)


def test_a_forged_certificate_is_refused_and_the_right_one_taken() -> None:
    shop = Shop(loaded=20_000)
    right = shop.chip.pay(1500)
    forged = right.replace(icc.scan(right)[icc.AC], bytes(8))
    code = shop.upload(forged, 1500).fields[39]
    assert code not in ("00", "94", "30")
    assert shop.upload(right, 1500).fields[39] == "00"
    refused = [row for row in shop.house.of("journal") if row["response_code"] == code]
    assert [row["kind"] for row in refused] == ["chip_offline_sale"]
    assert all(centre.check() for centre in shop.house.centres.values())


def test_an_upload_taken_without_a_line_reaches_the_issuer() -> None:
    shop = Shop(loaded=20_000)
    line, _ = shop.house.engine.office.routes.of(shop.counter.card.pan)
    shop.house.disconnect(line)
    assert shop.upload(shop.chip.pay(1500), 1500).fields[39] == "00"
    shop.house.restart_switch()
    delivered = [row for row in shop.house.of("journal") if row["state"] == "delivered"]
    assert [(row["kind"], row["reason"]) for row in delivered] == [("chip_offline_sale", "00")]


def test_a_reversed_sale_gives_the_money_back() -> None:
    shop = Shop()
    fields = shop.counter.fields("sale", 1000, "052", shop.chip.icc(1000), de23="000")
    assert shop.counter.ask("0200", fields).fields[39] == "00"
    told = tlv.write([("95", bytes(5)), ("9F36", shop.chip.atc.to_bytes(2, "big"))])
    assert shop.counter.ask("0400", {**fields, 39: "06", 55: told}).fields[39] == "00"
    assert shop.said().fields[55] == told
    assert [row["state"] for row in shop.house.of("journal")][-1] == "reversal_acked"
    assert all(centre.check() for centre in shop.house.centres.values())
