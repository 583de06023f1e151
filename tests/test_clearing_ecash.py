"""The equation of electronic cash: cards + certificates not uploaded + loads in doubt = shadow accounts."""

import json

import apsw
import pytest
from chip_card import TestChip, ask, df31, notice, request
from issuer_member import Member
from typer.testing import CliRunner

from switch.app.cli import app
from switch.clearing.ecash import join_e_cash
from switch.clearing.schema import CARDS, CHIPS, ISSUER_TABLES, LEDGER, OFFLINE, TERMINAL_TABLES
from switch.net.disk import Disk


class Ground:
    """An issuer, its cards' chips, and what their terminals hold."""

    def __init__(self, cards=6):
        self.member = Member("cups")
        self.chips = [
            TestChip(self.member.portfolio, self.member.card(n, chip=""), "sm4" if n % 2 else "3des")
            for n in range(cards)
        ]
        self.held = []

    def load(self, chip, amount, written=True, told=True):
        load = request(self.member, chip, "load_cash", amount)
        reply = self.member.ask(load)
        assert reply[39] == "00"
        if written:
            chip.takes(reply[55])
        if told:
            assert notice(self.member, chip, f"{chip.atc:04x}0001", of=load) == "00"
        return load

    def tap(self, chip, amount):
        self.held.append((chip, chip.atc + 1, amount, chip.pay(amount)))

    def upload(self):
        for chip, _, amount, icc in self.held:
            assert ask(self.member, chip, "chip_offline_sale", amount, icc=icc)[39] == "00"
        self.held.clear()

    def cards(self):
        reference = self.member.portfolio.reference
        return [(n, reference(chip.card.pan), "masked", chip.balance_minor, 0) for n, chip in enumerate(self.chips, 1)]

    def offline(self):
        reference = self.member.portfolio.reference
        return [
            (n, "M", "T", "000001", f"{n:06d}", reference(chip.card.pan), atc, amount, "held", "")
            for n, (chip, atc, amount, _) in enumerate(self.held, 1)
        ]

    def book(self, cards=None, offline=None, terminals=()):
        return join_e_cash(
            self.member_rows(), rows(CARDS, self.cards() if cards is None else cards),
            rows(OFFLINE, self.offline() if offline is None else offline), terminals,
        )  # fmt: skip

    def member_rows(self):
        return rows(CHIPS, self.member.chips)


def rows(table, tuples):
    return [dict(zip(table.names, row, strict=True)) for row in tuples]


@pytest.fixture
def ground():
    ground = Ground()
    for n, chip in enumerate(ground.chips[:5]):
        ground.load(chip, 10_000 + n)
        ground.tap(chip, 100 + n)
    return ground


def test_the_equation_holds_before_and_after_the_upload(ground):
    book = ground.book()
    assert (book.cards, book.card_minor, book.held, book.held_minor) == (6, 49_500, 5, 510)
    assert (book.doubt_minor, book.shadow_minor, book.difference_minor, book.balanced) == (0, 50_010, 0, True)
    ground.upload()
    book = ground.book()
    assert (book.held_minor, book.card_minor, book.shadow_minor, book.balanced) == (0, 49_500, 49_500, True)
    assert (book.uploaded, book.uploaded_minor, book.beyond) == (5, 510, 0)


def test_loads_in_doubt_count_where_the_card_does_not_have_them(ground):
    a, b, c = ground.chips[:3]
    for chip, amount, written in ((a, 700, False), (b, 800, True)):
        load = ground.load(chip, amount, written, told=False)
        assert ground.member.ask(ground.member.reversal(load))[39] == "25"
    ground.load(c, 900, written=False, told=False)
    book = ground.book()
    assert [(load.amount_minor, load.state, load.on_card) for load in book.loads] == [
        (700, "doubt", "no"), (800, "doubt", "yes"), (900, "sent", "no"),
    ]  # fmt: skip
    assert (book.doubt_minor, book.balanced) == (1_600, True)
    assert book.loads[0].pan_masked.startswith("620100***")
    # the chip is seen again: it never had it
    assert ask(ground.member, a)[39] == "00"
    ground.upload()
    book = ground.book()
    assert [load.state for load in book.loads] == ["unwritten", "doubt", "sent"]
    assert book.balanced


def test_an_undone_load_is_no_longer_listed(ground):
    chip = ground.chips[0]
    load = ground.load(chip, 700, written=False, told=False)
    script_id = f"{chip.atc:04x}0001"
    assert ground.member.ask(ground.member.reversal(load, de55=df31(script_id, done=False)))[39] == "00"
    book = ground.book()
    assert (book.loads, book.doubt_minor, book.balanced) == ([], 0, True)


def test_what_does_not_add_up_is_named(ground):
    cards = [list(row) for row in ground.cards()]
    cards[1][3] += 5
    book = ground.book(cards)
    assert (book.balanced, book.difference_minor) == (False, 5)
    (found,) = book.breaks
    assert (found.key, found.amount_minor, found.short) == (cards[1][1], 5, "issuer")
    assert found.cause == "card 99.05, not uploaded 1.01, shadow account 100.01"
    # two that cancel out in the sum are two breaks still
    cards[0][3] -= 5
    book = ground.book(cards)
    assert (book.difference_minor, len(book.breaks), book.balanced) == (0, 2, False)
    # a certificate lost, and one for a card nobody knows
    assert [item.amount_minor for item in ground.book(offline=ground.offline()[1:]).breaks] == [100]
    unknown = (9, "M", "T", "000001", "000099", "f" * 16, 1, 33, "held", "")
    assert [item.amount_minor for item in ground.book(offline=[*ground.offline(), unknown]).breaks] == [33]


def test_certificates_that_name_no_card_count_in_the_sum(ground):
    terminals = [
        {"mid": "M", "tid": "T", "batch": "000001", "stan": f"{n:06d}", "state": "offline", "amount": amount}
        for n, (_, _, amount, _) in enumerate(ground.held)
    ]
    assert ground.book(offline=[], terminals=terminals).balanced
    book = ground.book(offline=[], terminals=terminals[1:])
    assert (book.balanced, book.difference_minor) == (False, -100)


def test_forged_and_replayed_are_listed(ground):
    chip = ground.chips[0]
    held = ground.held[0][3]
    ground.upload()
    assert ask(ground.member, chip, "chip_offline_sale", 100, icc=held)[39] == "94"
    forged = chip.icc(100, 0x900000, t9F26=bytes(8))
    assert ask(ground.member, chip, "chip_offline_sale", 100, icc=forged)[39] == "05"
    book = ground.book()
    assert (book.listed["forged"], book.listed["replay"], book.balanced) == (1, 1, True)
    assert [item.cause for item in book.refused] == ["replay", "forged: cryptogram"]


def test_cards_that_nobody_told_of_stand_apart(ground):
    ground.upload()
    book = ground.book(ground.cards()[1:])
    assert (book.cards, book.others, book.others_minor, book.balanced) == (5, 1, 9_900, True)


def write_ledger(path, of):
    disk = Disk(path, ISSUER_TABLES)
    rows = [(row[0], table.name, tuple(row)) for table in ISSUER_TABLES for row in of.get(table.name, [])]
    for number, name, row in sorted(rows):
        disk.add(number, name, row)
    disk.commit()
    disk.close()


def write(path, tables, of):
    connection = apsw.Connection(str(path))
    for table in tables:
        connection.execute(table.create())
        connection.executemany(table.insert(), of.get(table.name, []))
    connection.close()


def test_the_command(ground, tmp_path):
    load = ground.load(ground.chips[5], 4_400, written=False, told=False)
    ground.member.ask(ground.member.reversal(load))
    ledger, terminals = tmp_path / "centre.db", tmp_path / "terminals.db"
    write_ledger(ledger, {LEDGER.name: ground.member.rows, CHIPS.name: ground.member.chips})
    write(terminals, TERMINAL_TABLES, {CARDS.name: ground.cards(), OFFLINE.name: ground.offline()})
    order = ["clearing", "ecash", "--ledger", str(ledger), "--terminals", str(terminals)]
    done = CliRunner().invoke(app, [*order, "--json", "-"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert (told["balanced"], told["doubt_minor"], told["loads"][0]["on_card"]) == (True, 4_400, "no")
    done = CliRunner().invoke(app, order, env={"COLUMNS": "140"})
    assert done.exit_code == 0
    for words in ("影子账户", "544.10", "可疑圈存", "not written 未写", "in doubt 可疑"):
        assert words in done.output
    assert ground.chips[5].card.pan not in done.output
    write(tmp_path / "other.db", TERMINAL_TABLES, {CARDS.name: ground.cards()})
    order[-1] = str(tmp_path / "other.db")
    assert CliRunner().invoke(app, order).exit_code == 1
