"""Fees of a journal: by hand-made rows, by a house that really played them, and by the commands that show them."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hand_in_book import do
from house import House
from typer.testing import CliRunner

from scenarios.ground import lay
from switch.app import clearing, fees, stats
from switch.app.config import ConfigError
from switch.app.serve import open_disk
from switch.clearing.books import deals
from switch.clearing.fees import ACQUIRER, ISSUER, NETWORK, Charge, Settlement, Share, charges, settle
from switch.clearing.schema import JOURNAL, SWITCH_TABLES
from switch.clearing.tariff import SHIPPED, Fee, Tariff, load_tariff, read_tariff
from switch.engine.route import Route, Routes
from switch.net.disk import Disk
from switch.net.witness import BrokenChain
from terminals.device import pos

NOON_MS = 1_793_160_000_000  # 2026-10-28 12:00 in Beijing
OLD_MS = 1_473_048_000_000  # 2016-09-05 12:00 in Beijing
SHOP = "043845310005311"
RUNNER = CliRunner()

app = typer.Typer()
app.callback()(lambda: None)
clearing.register(app)
fees.register(app)
stats.register(app)


@pytest.fixture(scope="module")
def domestic() -> Tariff:
    return load_tariff(SHIPPED, Path())


class Journal:
    """Rows of a journal, written transaction by transaction."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._count = 0

    def add(self, kind: str, amount: int, *states: str, of: str = "", **more: Any) -> str:
        """A transaction with its rows; its RRN."""
        self._count += 1
        rrn = f"301{self._count:09d}"
        empty = {name: 0 if form == "INTEGER" else b"" if form == "BLOB" else "" for name, form in JOURNAL.columns}
        lasting = {
            "at_ms": NOON_MS, "kind": kind, "mid": SHOP, "tid": "10000001", "batch": "000001", "card": "debit",
            "stan": f"{self._count:06d}", "link": "cups", "net_time": "1028120000", "net_stan": f"{self._count:06d}",
            "acquirer": "04384530", "rrn": rrn, "amount": amount, "mcc": "5311", "original_rrn": of, "net_mti": "0200",
            "currency": "156",
        }  # fmt: skip
        ended = {"response_code": "00", "settlement_date": "1028", "receiver": "91010000"}
        for state in states or ("sent", "answered"):
            row = empty | lasting | ({} if state == "sent" else ended) | more
            if state == "refused":
                row["response_code"] = "51"
            self.rows.append(row | {"state": state, "number": len(self.rows) + 1})
        return rrn

    def charges(self, tariff: Tariff) -> dict[str, Charge]:
        return charges(deals(self.rows), tariff)

    def settle(self, tariff: Tariff, **days: str) -> Settlement:
        return settle(deals(self.rows), tariff, **days)

    def write(self, path: Path, without: int = 0) -> Path:
        """The journal as a file, also as one of an earlier release: without its last columns."""
        names = JOURNAL.names[: len(JOURNAL.names) - without]
        old = JOURNAL._replace(columns=JOURNAL.columns[: len(names)])
        disk = Disk(path, [old if table is JOURNAL else table for table in SWITCH_TABLES])
        for row in self.rows:
            disk.add(row["number"], JOURNAL.name, tuple(row[name] for name in names))
        disk.commit()
        disk.close()
        return path


DEBIT_10000 = Fee(2000, 1300 - 325, 650, 2000 - 1300 - 325)
"""What 10,000.00 by a debit card cost: every cap is reached."""


def test_what_does_not_stand_costs_nothing(domestic: Tariff) -> None:
    journal = Journal()
    sale = journal.add("sale", 1_000_000)
    voided = journal.add("sale", 1_000_000)
    journal.add("sale_void", 1_000_000, of=voided)
    journal.add("sale", 1_000_000, "sent", "reversal_queued", "reversal_acked")
    journal.add("sale", 1_000_000, "refused")
    held = journal.add("preauth", 1_000_000)
    completed = journal.add("completion", 900_000, of=held)
    journal.add("completion_void", 900_000, of=completed)
    journal.add("points_sale", 1_000_000)
    journal.add("balance", 0)
    assert {rrn: charge.fee for rrn, charge in journal.charges(domestic).items()} == {sale: DEBIT_10000}


def test_a_void_that_was_reversed_leaves_the_fee(domestic: Tariff) -> None:
    journal = Journal()
    sale = journal.add("sale", 1_000_000)
    journal.add("sale_void", 1_000_000, "sent", "reversal_queued", "reversal_acked", of=sale)
    assert journal.charges(domestic)[sale].fee == DEBIT_10000


def test_refunds_in_parts_give_back_the_whole_fee(domestic: Tariff) -> None:
    journal = Journal()
    sale = journal.add("sale", 1_000_000)
    first = journal.add("refund", 333_333, "stored", "delivered", of=sale)
    second = journal.add("refund", 666_667, "stored", "delivered", of=sale)
    found = journal.charges(domestic)
    # a third: 666.666, 324.999675 and 216.66645 fen; the acquirer has the rest
    assert found[first].fee == Fee(-667, -325, -217, -125)
    assert found[second].fee == Fee(-1333, -650, -433, -250)
    total = found[sale].fee.plus(found[first].fee).plus(found[second].fee)
    assert total == Fee(0, 0, 0, 0)


def test_any_parts_of_any_sale_balance(domestic: Tariff) -> None:
    for amount in (3, 100, 101, 9_999, 371_429, 1_000_000):
        journal = Journal()
        card = "credit" if amount % 2 else "debit"
        sale = journal.add("sale", amount, card=card)
        parts = [amount // 3, amount // 7, amount - amount // 3 - amount // 7]
        for part in parts:
            journal.add("refund", part, of=sale, card=card)
        found = journal.charges(domestic)
        total = Fee()
        for charge in found.values():
            assert charge.fee.balanced
            total = total.plus(charge.fee)
        assert total == Fee()


def test_a_tip_costs_and_goes_back_with_its_sale(domestic: Tariff) -> None:
    journal = Journal()
    sale = journal.add("sale", 10_000, card="credit")
    tip = journal.add("tip", 1_000, "stored", "delivered", of=sale, card="credit")
    refund = journal.add("refund", 11_000, of=sale, card="credit")
    found = journal.charges(domestic)
    assert found[sale].fee == Fee(60, 45 - 3, 6, 60 - 45 - 3)  # 3.25 -> 3, twice
    assert found[tip].fee == Fee(6, 5, 0, 1)  # 4.5 -> 5, 0.325 -> 0
    assert found[refund].fee == Fee(-66, -47, -6, -13)


def test_a_refund_goes_by_the_day_of_its_sale(domestic: Tariff) -> None:
    journal = Journal()
    sale = journal.add("sale", 100_000, at_ms=OLD_MS, settlement_date="0905")
    refund = journal.add("refund", 50_000, of=sale, at_ms=OLD_MS + 2 * 86_400_000, settlement_date="0907")
    alone = journal.add("refund", 50_000, of="gone", at_ms=OLD_MS + 2 * 86_400_000, settlement_date="0907")
    found = journal.charges(domestic)
    assert found[sale].fee == Fee(780, 550, 80, 150)
    assert found[refund].fee == Fee(-390, -275, -40, -75)
    # the journal does not have its sale: 500.00 by the rates of its own day; 175 less 16.25 -> 16, twice
    assert found[alone].fee == Fee(-250, -(175 - 16), -32, -(250 - 175 - 16))


def test_a_tariff_may_keep_the_fee_of_a_refund(tmp_path: Path) -> None:
    path = tmp_path / "keep.csv"
    path.write_text(
        "from,business,class,merchant,issuer,refund,rounding\n2016-09-06,purchase,all,1%,0.5%,keep,down\n",
        encoding="utf-8",
    )
    journal = Journal()
    sale = journal.add("sale", 1_199)
    refund = journal.add("refund", 1_199, of=sale)
    found = journal.charges(read_tariff(path))
    assert (found[sale].fee, found[refund].fee) == (Fee(11, 5, 0, 6), Fee())


def day() -> Journal:
    """A shop's sale, one on-us, a refund; a withdrawal, one on-us, a deposit."""
    journal = Journal()
    sale = journal.add("sale", 1_000_000)
    journal.add("sale", 100_000, card="credit", on_us=1, link="core", receiver="04384531")
    journal.add("refund", 1_000_000, "stored", "delivered", of=sale)
    machine = {"mid": "043845310006011", "mcc": "6011"}
    journal.add("atm_withdrawal", 50_000, **machine)
    journal.add("atm_withdrawal", 20_000, on_us=1, link="core", receiver="04384531", **machine)
    journal.add("atm_deposit", 30_000, **machine)
    return journal


def test_who_is_owed_what(domestic: Tariff) -> None:
    result = day().settle(domestic)
    assert result.fee == Fee(600, 450 - 360, 60, 150 + 300)
    assert result.merchants == {SHOP: Share(3, 100_000, 600, 99_400)}
    assert result.institutions == {
        # the other bank: 500.00 of notes were paid out for it at 3.60, 300.00 were taken in
        (ISSUER, "91010000"): Share(4, 20_000, -360, -20_360),
        (ISSUER, "04384531"): Share(2, 120_000, 450, -119_550),
        (NETWORK, "cups"): Share(4, 20_000, 60, 60),
        (ACQUIRER, "04384530"): Share(6, 140_000, 450, 450 + 50_000 + 20_000 - 30_000),
    }
    assert result.balanced
    assert [(one.row.name, one.row.card, one.count, one.amount_minor) for one in result.classes.values()] == [
        ("standard", "debit", 2, 0), ("standard", "credit", 1, 100_000), ("ATM", "", 2, 70_000),
    ]  # fmt: skip


def test_an_unbalanced_settlement_is_seen(domestic: Tariff) -> None:
    result = day().settle(domestic)
    result.institutions[ISSUER, "91010000"].fee_minor += 1
    assert not result.balanced


def test_days_are_settlement_days(domestic: Tariff) -> None:
    journal = Journal()
    sale = journal.add("sale", 1_000_000)
    journal.add("refund", 500_000, of=sale, settlement_date="1029")
    assert journal.settle(domestic, last="1028").fee == DEBIT_10000
    assert journal.settle(domestic, first="1029").fee == Fee(-1000, -488, -325, -187)  # 487.5 -> 488


def test_what_has_no_row_is_told(domestic: Tariff) -> None:
    journal = Journal()
    journal.add("sale", 5_000, card="")
    journal.add("sale", 7_000, card="")
    journal.add("sale", 9_000, at_ms=OLD_MS - 4 * 366 * 86_400_000, settlement_date="")
    result = journal.settle(domestic)
    assert result.unpriced == {
        ("purchase", "2026-10-28", "5311", ""): [2, 12_000],
        ("purchase", "2012-09-02", "5311", "debit"): [1, 9_000],
    }
    assert result.fee == Fee()
    assert result.balanced


# the type of card on its way into the journal


def test_the_journal_has_the_type_of_card_that_the_route_names() -> None:
    house = House(terminals=2)
    house.engine.office.routes = Routes({"621214": Route("core", "debit"), "628800": Route("cups", "credit")}, "cups")
    memory, other = house.memories
    for card in (house.card(0), house.card(2), house.card(1)):
        assert house.run(pos.sale(memory, house.line, card, 10_000)).approved
    sale = house.run(pos.sale(other, house.line, house.card(2, 1), 20_000)).item
    house.run(pos.refund(other, house.line, sale, None, 5_000))
    house.pass_time(5)
    assert [(row["kind"], row["card"]) for row in house.of("journal") if row["state"] == "answered"] == [
        ("sale", "debit"), ("sale", "credit"), ("sale", ""), ("sale", "credit"), ("refund", "credit"),
    ]  # fmt: skip
    assert house.books().agreed
    result = settle(deals(house.of("journal")), load_tariff(SHIPPED, Path()))
    assert result.balanced
    assert [key[2:] for key in result.unpriced] == [(memory.mcc, "")]
    house.restart_switch()
    assert [exchange.card for exchange in house.engine.office.books.by_rrn.values()] == [
        row["card"] for row in house.of("journal") if row["state"] == "sent"
    ]


def test_a_bin_of_unknown_type_is_written_as_before() -> None:
    routes = Routes({"621214": "core", "6212149": Route("cups", "credit")}, "net")
    pans = ("6212140000000000030", "6212149000000000003", "6200000000000000")
    assert [routes.of(pan) for pan in pans] == [("core", ""), ("cups", "credit"), ("net", "")]


# journals of an earlier release


def test_a_journal_without_the_column_is_read_and_gone_on_with(tmp_path: Path, domestic: Tariff) -> None:
    journal = Journal()
    journal.add("sale", 1_000_000, card="")
    old = journal.write(tmp_path / "switch.db", without=len(JOURNAL.names) - JOURNAL.names.index("card"))
    before = old.read_bytes()
    assert clearing.read_rows(old, JOURNAL) == journal.rows
    assert stats.tally([old], ["card"]).groups.keys() == {("-",)}
    assert fees.settle_file(old, domestic).unpriced.keys() == {("purchase", "2026-10-28", "5311", "")}
    assert old.read_bytes() == before, "reading changes nothing"
    journal.add("sale", 1_000_000, "answered")
    disk = Disk(old, SWITCH_TABLES)
    disk.add(3, "journal", tuple(journal.rows[2][name] for name in JOURNAL.names))
    assert disk.commit() == 3
    assert [row[JOURNAL.names.index("card")] for _, row in disk.history()] == ["", "", "debit"]
    disk.close()
    assert clearing.read_rows(old, JOURNAL) == journal.rows
    again = Disk(old, SWITCH_TABLES)
    assert again.durable == 3
    again.close()


def test_a_journal_that_kept_rows_singly_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "switch.db"
    do(path, JOURNAL.create())
    with pytest.raises(BrokenChain, match=r"switch\.db has a table journal: an earlier release's"):
        Disk(path, SWITCH_TABLES)
    with pytest.raises(ConfigError, match="nothing was started"):
        open_disk(path, SWITCH_TABLES)


# the commands


def test_the_command(tmp_path: Path) -> None:
    path = day().write(tmp_path / "switch.db")
    shown = RUNNER.invoke(app, ["clearing", "fees", "--journal", str(path)], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    for text in ("Merchants 商户", "issuer 发卡", "credit 贷记", "ATM", "-203.60", "994.00"):
        assert text in shown.stdout
    assert "merchants pay 6.00 = issuers 0.90 + networks 0.60 + acquirer 4.50: ✓ 平" in shown.stdout
    told = RUNNER.invoke(app, ["clearing", "fees", "--journal", str(path), "--to", "1027", "--json", "-"])
    assert json.loads(told.stdout)["merchants"] == []
    data = json.loads(RUNNER.invoke(app, ["clearing", "fees", "--journal", str(path), "--json", "-"]).stdout)
    assert data["fees_minor"] == {"merchant": 600, "issuer": 90, "network": 60, "acquirer": 450}
    assert data["merchants"] == [
        {"mid": SHOP, "count": 3, "amount_minor": 100_000, "fee_minor": 600, "position_minor": 99_400}
    ]
    assert sum(one["position_minor"] for one in data["institutions"]) == -99_400


def test_what_has_no_row_is_an_exit_code(tmp_path: Path) -> None:
    journal = Journal()
    journal.add("sale", 5_000, card="")
    path = journal.write(tmp_path / "switch.db")
    shown = RUNNER.invoke(app, ["clearing", "fees", "--journal", str(path)], env={"COLUMNS": "100"})
    assert shown.exit_code == 1
    assert "no row of the tariff 无资费: 1 of 50.00 yuan" in shown.stdout
    assert "card type unknown" in shown.stdout.replace("\n", " ")


def test_the_command_by_the_switch_s_configuration(tmp_path: Path) -> None:
    directory = lay(tmp_path / "day", 7, 3, "1028").directory
    day().write(directory / "switch.db")
    source = directory / "switch.toml"
    source.write_text('tariff = "own.csv"\n' + source.read_text(encoding="utf-8"), encoding="utf-8")
    (directory / "own.csv").write_text(
        "from,business,class,merchant\n2020-01-01,purchase,all,1%\n2020-01-01,withdrawal,all,\n", encoding="utf-8"
    )
    result = RUNNER.invoke(app, ["clearing", "fees", "--config", str(source), "--json", "-"])
    data = json.loads(result.stdout)
    assert (data["tariff"], data["fees_minor"]["merchant"], data["fees_minor"]["acquirer"]) == ("own", 1000, 1000)
    with pytest.raises(ConfigError, match="--journal or --config is needed"):
        RUNNER.invoke(app, ["clearing", "fees"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="own: No such file"):
        RUNNER.invoke(
            app, ["clearing", "fees", "--journal", str(directory / "switch.db"), "--tariff", "own"],
            catch_exceptions=False,
        )  # fmt: skip


def test_stats_by_a_tariff(tmp_path: Path) -> None:
    path = day().write(tmp_path / "switch.db")
    arguments = ["stats", str(path), "--by", "card,on-us", "--json", "-"]
    data = json.loads(RUNNER.invoke(app, [*arguments, "--tariff", "domestic"]).stdout)
    assert [(g["card"], g["on-us"], *(g[f"fee_{party}_minor"] for party in Fee._fields)) for g in data["groups"]] == [
        ("credit", "on-us", 600, 450, 0, 150),
        ("debit", "off-us", 0, -360, 60, 300),
        ("debit", "on-us", 0, 0, 0, 0),
    ]
    assert data["total"]["fee_merchant_minor"] == 600
    assert json.loads(RUNNER.invoke(app, arguments).stdout)["total"]["fee_merchant_minor"] is None
    shown = RUNNER.invoke(app, [*arguments[:-2], "--tariff", "domestic"], env={"COLUMNS": "160"})
    assert "手续费" in shown.stdout
    assert "6.00" in shown.stdout
    without = RUNNER.invoke(app, arguments[:-2], env={"COLUMNS": "160"})
    assert "手续费" not in without.stdout
