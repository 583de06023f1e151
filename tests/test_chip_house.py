"""Chips through the whole house: terminal's messages, switch, real issuers; the books of all of them afterwards."""

from typing import Any

import pytest
from chip_card import TestChip, df31
from chip_requests import Counter
from house import ZMK, House, network

from switch.clearing.ecash import join_e_cash
from switch.clearing.schema import CHIPS
from switch.crypto.hsm import Hsm
from switch.issuer.centre import Centre
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY, Bank
from switch.issuer.masterkeys import take_master_keys
from switch.wire.message import Message


class Shop(Counter):
    """A counter whose cards have chips and whose far end are the issuers themselves."""

    def __init__(self, issuer: int = 1, suite: str = "3des") -> None:
        super().__init__(House(), issuer=issuer)
        self.house.meddle = lambda name, send: send
        self.chip = TestChip(self.house.portfolio, self.card, suite, psn="01")

    def pay(self, kind: str, amount: int, entry: str = "052", icc: bytes | None = None, **more: Any) -> Message:
        return self.do(kind, amount, entry, self.chip.icc(amount) if icc is None else icc, **more)

    def load(self, kind: str, amount: int, written: bool = True) -> tuple[dict[int, Any], Message]:
        """A load as far as the chip: the request and its answer."""
        fields = self.fields(kind, amount, icc=self.chip.icc(amount))
        reply = self.ask("0200", fields)
        assert reply.fields[39] == "00"
        if written:
            assert list(self.chip.takes(reply.fields[55])) == [f"{self.chip.atc:04x}0001"]
        return fields, reply

    def notice(self, load: dict[int, Any], done: bool = True) -> str:
        fields = self.fields("script_notice", 0, "052", df31(f"{self.chip.atc:04x}0001", done))
        fields |= {3: load[3], 25: load[25], 60: "00" + self.memory.batch + "95160"}
        fields |= {61: self.memory.batch + load[11] + "1028"}
        return self.ask("0620", fields).fields[39]

    def tap(self, amount: int) -> bytes:
        return self.chip.pay(amount)

    def deliver(self, amount: int, icc: bytes) -> str:
        return self.do("chip_offline_sale", amount, "071", icc, de63=b"CUP").fields[39]

    def e_cash(self, held: int = 0):
        ref = self.house.portfolio.reference(self.card.pan)
        card = {"card_ref": ref, "pan_masked": "", "balance_minor": self.chip.balance_minor, "issued_minor": 0}
        offline = {"mid": "", "tid": "", "batch": "", "stan": "", "card_ref": ref, "amount": held, "state": "held"}
        return join_e_cash(self.house.chip_rows(), [card], [offline] if held else [])

    def events(self) -> list[str]:
        return [row["event"] for row in self.house.chip_rows()]

    def reconciled(self):
        self.house.pass_time(200)
        return self.house.books()


@pytest.fixture(params=[(0, "3des"), (1, "sm4")], ids=["own bank", "network"])
def shop(request: pytest.FixtureRequest) -> Shop:
    return Shop(*request.param)


def test_a_chip_sale_is_answered_with_an_arpc_that_the_chip_takes(shop: Shop) -> None:
    reply = shop.pay("sale", 1_000)
    assert reply.fields[39] == "00"
    assert shop.chip.takes(reply.fields[55]) == {}
    forged = shop.pay("sale", 1_000, icc=shop.chip.icc(1_000, t9F26=bytes(8)))
    assert (forged.fields[39], 55 in forged.fields) == ("05", False)
    assert shop.events() == ["online", "refused"]


def test_a_day_of_electronic_cash(shop: Shop) -> None:
    load, _ = shop.load("load_designated", 20_000)
    assert shop.notice(load) == "00"
    load, _ = shop.load("load_cash", 5_000)
    assert shop.notice(load) == "00"
    first, second = shop.tap(300), shop.tap(450)
    book = shop.e_cash(held=750)
    assert (book.card_minor, book.held_minor, book.shadow_minor, book.balanced) == (24_250, 750, 25_000, True)
    assert [shop.deliver(450, second), shop.deliver(300, first)] == ["00", "00"]
    assert shop.deliver(300, first) == "94"
    forged = shop.chip.icc(999, 0x900000, t9F26=bytes(8), t9F74=b"ECC001", t8A=b"Y1")
    assert shop.deliver(999, forged) == "05"
    book = shop.e_cash()
    assert (book.card_minor, book.shadow_minor, book.balanced) == (24_250, 24_250, True)
    assert (book.uploaded_minor, book.listed["forged"], book.loads) == (750, 1, [])
    result = shop.reconciled()
    broken = [item for item in result.breaks if item.book != "terminals"]
    assert broken == []  # the terminals' own book is the device's, which had no part in this
    totals = {kind: line.switch for (_, kind), line in result.totals.items()}
    assert totals == {kind: line.issuers for (_, kind), line in result.totals.items()}
    assert (totals["chip_offline_sale"], totals["load_designated"], totals["load_cash"]) == (
        [2, 750], [1, 20_000], [1, 5_000],
    )  # fmt: skip


def test_loads_in_doubt_are_listed_and_nobody_is_refunded(shop: Shop) -> None:
    # the answer came, the terminal then fell silent about the script
    fields, _ = shop.load("load_designated", 7_000, written=False)
    reply = shop.ask("0400", {**fields, 39: "96", 55: shop.chip.icc(0, atc=shop.chip.atc)})
    assert reply.fields[39] == "00"
    shop.house.pass_time(5)
    book = shop.e_cash()
    assert [(load.amount_minor, load.state, load.on_card) for load in book.loads] == [(7_000, "doubt", "no")]
    assert (book.doubt_minor, book.balanced) == (7_000, True)
    account = next(row for row in shop.house.ledger_rows() if row["kind"] == "load_designated")
    assert account["posted_minor"] == 7_000
    result = shop.reconciled()
    assert [item.kind for item in result.suspicious] == ["load_designated"]
    # seen again, then taken up
    shop.pay("sale", 100)
    assert [load.state for load in shop.e_cash().loads] == ["unwritten"]
    fields = shop.fields("load_takeup", 0, icc=shop.chip.icc(0))
    taken = shop.ask("0200", fields)
    shop.chip.takes(taken.fields[55])
    assert (taken.fields[39], shop.chip.balance_minor) == ("00", 7_000)
    assert shop.notice(fields) == "00"
    book = shop.e_cash()
    assert (book.loads, book.doubt_minor, book.balanced) == ([], 0, True)


def test_a_reversal_with_a_failed_script_gives_the_money_back(shop: Shop) -> None:
    fields, _ = shop.load("load_designated", 7_000, written=False)
    shop.ask("0400", {**fields, 39: "06", 55: df31(f"{shop.chip.atc:04x}0001", done=False)})
    shop.house.pass_time(5)
    posted = [row["posted_minor"] for row in shop.house.ledger_rows()]
    assert (sum(posted), posted[:2]) == (0, [7_000, -7_000])
    assert shop.events()[-1] == "load_reversed"
    assert shop.e_cash().balanced


def test_an_issuer_knows_its_chips_again_after_a_restart(shop: Shop) -> None:
    load, _ = shop.load("load_cash", 5_000)
    shop.notice(load)
    held = shop.tap(400)
    assert shop.deliver(400, held) == "00"
    name = "core" if shop.card.issuer.own else "cups"
    house = shop.house
    old = house.centres[name]
    hsm: Hsm = Hsm(bytes(32), house.entropy)
    hsm.generate(PAN_HASH_KEY, "hash", "aes", 32)
    hsm.generate(PIN_REFERENCE_KEY, "pvk", "aes", 32)
    hsm.import_clear(f"zmk/{name}", "zmk", network(name).keys.suite, ZMK)
    take_master_keys(hsm, house.portfolio)
    fresh = Centre(
        name, network(name), network(name).header.destination, [Bank(house.portfolio, n, hsm) for n in (0, 1, 2, 3, 4)],
        hsm, settlement_date=old.settlement_date,
    )  # fmt: skip
    fresh.recover(house.ledgers[name], chips=house.chips[name])
    assert fresh.statistics()["posts"] == len(house.ledgers[name]) + len(house.chips[name])
    bank = next(bank for bank in fresh.banks if bank.institution == shop.card.issuer.institution)
    chip = bank.desk.chips.chip(shop.card)
    assert (chip.atc, chip.used, chip.shadow_minor) == (2, {2}, 4_600)
    assert [load.state for load in chip.loads] == ["written"]


def test_no_row_names_a_card_or_holds_its_chip_data(shop: Shop) -> None:
    load, reply = shop.load("load_designated", 20_000)
    shop.notice(load)
    held = shop.tap(300)
    shop.deliver(300, held)
    text = repr(shop.house.chips) + repr(shop.house.ledgers)
    for secret in (shop.card.pan, shop.card.track2, shop.card.pin + "'", shop.chip.arqc.hex(), held.hex()):
        assert secret not in text
    assert repr(reply.fields[55]) not in text
    assert {len(row) for rows in shop.house.chips.values() for row in rows} == {len(CHIPS.names)}
