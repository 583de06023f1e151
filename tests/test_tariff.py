"""Tariffs: prices by hand, caps, dates and roundings; a file at fault is named by line and reason and not taken."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from scenarios.ground import lay
from switch.app.compose import build_engine
from switch.app.config import ConfigError, SwitchConfig, read_config, tariff_for
from switch.app.reload import began, reload_engine
from switch.clearing.dates import civil, full_date, is_date, within
from switch.clearing.fees import business_of
from switch.clearing.tariff import (
    COLUMNS,
    PURCHASE,
    ROUNDINGS,
    SHIPPED,
    WITHDRAWAL,
    Fee,
    Price,
    Tariff,
    load_tariff,
    price,
    read_tariff,
)
from switch.wire.table import TableError
from switch.wire.transactions import BY_NAME, ROWS

HEADER = "from,until,business,class,mcc,card,merchant,issuer,network,issuer_to_network,issuer_to_acquirer,charged"


@pytest.fixture(scope="module")
def domestic() -> Tariff:
    return load_tariff(SHIPPED, Path())


def fee(tariff: Tariff, date: str, amount: int, **more: Any) -> Fee:
    row = tariff.row(date, more.get("business", PURCHASE), more.get("mcc", "5311"), more.get("card", "debit"))
    assert row is not None
    return row.fee(amount, more.get("on_us", False))


def test_a_credit_card_has_no_cap_at_the_issuer(domestic: Tariff) -> None:
    # 1,000.00: the merchant 6.00; the issuer 4.50 less its network half 0.325; the acquirer 6.00 - 4.50 - 0.33
    assert fee(domestic, "2026-10-28", 100_000, card="credit") == Fee(600, 450 - 33, 33 + 33, 600 - 450 - 33)
    # 100,000.00: 600.00, 450.00; both network halves at 3.25
    assert fee(domestic, "2026-10-28", 10_000_000, card="credit") == Fee(60_000, 45_000 - 325, 650, 60_000 - 45_325)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        # 3,714.28 * 0.35 % = 12.99998 -> 13.00, below the cap; network 1.207141; merchant 18.5714
        (371_428, Fee(1857, 1300 - 121, 242, 1857 - 1300 - 121)),
        # 4,000.00 * 0.5 % = 20.00: the merchant's cap is reached exactly, the issuer's is passed
        (400_000, Fee(2000, 1300 - 130, 260, 2000 - 1300 - 130)),
        (400_001, Fee(2000, 1300 - 130, 260, 2000 - 1300 - 130)),
        # 10,000.00 * 0.0325 % = 3.25: the network's cap
        (1_000_000, Fee(2000, 1300 - 325, 650, 2000 - 1300 - 325)),
        (100_000_000, Fee(2000, 1300 - 325, 650, 2000 - 1300 - 325)),
        # 0.99: 0.495 fen -> 0; 1.00: 0.5 fen -> 1, issuer 0.35 -> 0, so all of it is the acquirer's
        (99, Fee(0, 0, 0, 0)),
        (100, Fee(1, 0, 0, 1)),
    ],
)
def test_a_debit_card_has_caps(domestic: Tariff, amount: int, expected: Fee) -> None:
    assert fee(domestic, "2026-10-28", amount) == expected


def test_the_day_decides(domestic: Tariff) -> None:
    # the last day of the old rates: 0.78 %, of which 0.55 % and 0.08 %, whatever the card
    old = Fee(780, 550, 80, 150)
    assert fee(domestic, "2016-09-05", 100_000) == fee(domestic, "2016-09-05", 100_000, card="") == old
    assert fee(domestic, "2016-09-06", 100_000) == Fee(500, 350 - 33, 66, 500 - 350 - 33)
    # a car of 200,000.00: capped at 80.00, 60.00 and 10.00; the day after, 20.00 by a debit card
    assert fee(domestic, "2016-09-05", 20_000_000, mcc="5511") == Fee(8000, 6000, 1000, 1000)
    assert fee(domestic, "2016-09-06", 20_000_000, mcc="5511").merchant == 2000
    # a restaurant, before: 1.25 %, 0.9 %, 0.13 %
    assert fee(domestic, "2014-02-14", 100_000, mcc="5812") == Fee(1250, 900, 130, 220)
    assert domestic.row("2013-02-24", PURCHASE, "5812", "debit") is None


def test_preferential_and_waived_classes(domestic: Tariff) -> None:
    # a supermarket, two years long: 78 % of 13.00 = 10.14 and of 3.25 = 2.535 -> 2.54 (twice); itself 0.39 %, cap 15.60
    assert fee(domestic, "2018-09-05", 1_000_000, mcc="5411") == Fee(1560, 1014 - 254, 508, 1560 - 1014 - 254)
    # credit 1,000.00: 4.68; 78 % of 4.50 = 3.51; 78 % of 0.325 = 0.2535
    assert fee(domestic, "2016-09-06", 100_000, mcc="5411", card="credit") == Fee(468, 351 - 25, 50, 468 - 351 - 25)
    assert fee(domestic, "2018-09-06", 1_000_000, mcc="5411") == fee(domestic, "2018-09-06", 1_000_000)
    assert fee(domestic, "2026-10-28", 1_000_000, mcc="8062") == Fee(0, 0, 0, 0)


def test_cash_at_a_machine_costs_institutions(domestic: Tariff) -> None:
    assert fee(domestic, "2026-10-28", 50_000, business=WITHDRAWAL, mcc="6011") == Fee(0, -360, 60, 300)
    assert fee(domestic, "2026-10-28", 50_000, business=WITHDRAWAL, mcc="6011", on_us=True) == Fee(0, 0, 0, 0)


def test_on_us_nothing_passes_the_network(domestic: Tariff) -> None:
    assert fee(domestic, "2026-10-28", 100_000, card="credit", on_us=True) == Fee(600, 450, 0, 150)


def test_an_unknown_card_type_has_no_row_where_types_differ(domestic: Tariff) -> None:
    assert domestic.row("2026-10-28", PURCHASE, "5311", "") is None
    waived = domestic.row("2026-10-28", PURCHASE, "8062", "")
    assert waived is not None
    assert waived.name == "waived"


@pytest.mark.parametrize(
    ("rounding", "half", "three_halves", "more", "whole"),
    [("half-up", 1, 2, 1, 1), ("half-even", 0, 2, 1, 1), ("down", 0, 1, 0, 1), ("up", 1, 2, 1, 1)],
)
def test_roundings(rounding: str, half: int, three_halves: int, more: int, whole: int) -> None:
    cell = price("0.5%")
    # 1.00, 3.00, 1.01 and 2.00 yuan: 0.5, 1.5, 0.505 and 1 fen
    fees = [cell.of(amount, 100, ROUNDINGS[rounding]) for amount in (100, 300, 101, 200)]
    assert fees == [half, three_halves, more, whole]


def test_what_is_paid_is_got_at_every_amount(domestic: Tariff) -> None:
    for row in domestic.rows:
        for amount in (*range(1, 3000, 7), *range(3000, 2_000_000, 3331)):
            assert row.fee(amount, False).balanced
            assert row.fee(amount, True).balanced


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("0.45%", Price(4500)), ("0.0325% max 3.25", Price(325, 325)), ("100%", Price(1_000_000)),
        ("3", Price(fixed_minor=300)), ("0.6", Price(fixed_minor=60)), ("1.25%  max  80", Price(12_500, 8000)),
    ],
)  # fmt: skip
def test_prices(cell: str, expected: Price) -> None:
    assert price(cell) == expected


@pytest.mark.parametrize(
    "cell", ["0.00325%1", "0.00325%", "-1%", "1e2", "3.001", "101%", "%", ".5%", "5.%", "1 max 2", "1% max", "1% min 2"]
)
def test_what_is_no_price(cell: str) -> None:
    with pytest.raises(ValueError, match="is no price like"):
        price(cell)


# the file

GOOD = "2016-09-06,,purchase,standard,,debit,0.5% max 20.00,0.35% max 13.00,,,,"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["colour\nred"], "line 1: column 'colour' is not known"),
        ([HEADER], "has no rows"),
        ([HEADER, GOOD, GOOD.replace("2016-09-06", "2016-02-30")], "line 3: from: '2016-02-30' is not a date"),
        ([HEADER, GOOD.replace("2016-09-06,", "2016-09-06,2015-01-01")], "line 2: until: 2015-01-01 is before"),
        ([HEADER, GOOD.replace("0.5%", "0.5 percent")], "line 2: merchant: '0.5 percent max 20.00' is no price"),
        ([HEADER, GOOD.replace("debit", "gold")], "line 2: card: 'gold' is none of debit, credit"),
        ([HEADER, GOOD.replace("purchase", "gift")], "line 2: business: 'gift' is none of purchase"),
        ([HEADER, GOOD.replace("standard,,", "standard,541,")], "line 2: mcc: '541' is neither a merchant category"),
        ([HEADER, GOOD.replace("standard,,", "standard,5400-5499 5411,")], "line 2: mcc: category 5411 stands here t"),
        ([HEADER, GOOD + "78"], "line 2: charged: '78' is not a whole per cent"),
        ([HEADER, GOOD + "101%"], "line 2: charged: '101%' is not a whole per cent"),
        ([HEADER, GOOD + ",x"], "line 2: has 13 cells, the header 12"),
        ([HEADER, "2016-09-06,,withdrawal,ATM,,,0.1%,,,,,"], "line 2: merchant: fees of a withdrawal run between"),
        ([HEADER, GOOD, GOOD.replace("debit", "")], "line 3: could be meant where line 2 is"),
        ([HEADER, GOOD, GOOD.replace("2016-09-06", "2020-01-01")], "line 3: could be meant where line 2 is"),
        ([HEADER, GOOD.replace(",,debit", ",5400-5499,debit"), GOOD.replace(",,debit", ",5411 5812,debit")],
         "line 3: could be meant where line 2 is"),
    ],
)  # fmt: skip
def test_a_file_at_fault_is_not_taken(tmp_path: Path, lines: list[str], said: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read_tariff(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_rows_beside_each_other_are_no_overlap(tmp_path: Path) -> None:
    rows = [
        GOOD,
        GOOD.replace("debit", "credit"),
        GOOD.replace("standard,,", "small,5812,"),
        GOOD.replace("2016-09-06,,", "2010-01-01,2016-09-05,"),
        "2016-09-06,,withdrawal,ATM,,debit,,,,,3.00,",
    ]
    path = tmp_path / "own.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    tariff = read_tariff(path)
    assert [row.line for row in tariff.rows] == [2, 3, 4, 5, 6]
    chosen = tariff.row("2020-01-01", PURCHASE, "5812", "debit")
    assert chosen is not None
    assert chosen.line == 4


def test_every_column_is_used_and_told(domestic: Tariff) -> None:
    page = (Path(__file__).parent.parent / "docs/fees.md").read_text(encoding="utf-8")
    assert not [column.name for column in COLUMNS if f"`{column.name}`" not in page]
    assert not [name for name in ROUNDINGS if f"`{name}`" not in page]
    assert len(domestic.rows) == 12


def test_what_costs_something() -> None:
    kinds = {row.name: business_of(row) for row in ROWS}
    assert {name for name, business in kinds.items() if business == "refund"} == {"refund", "chip_offline_refund"}
    assert {name for name, business in kinds.items() if business == WITHDRAWAL} == {"atm_withdrawal"}
    assert {name for name, business in kinds.items() if business == PURCHASE} == {
        "sale", "completion", "completion_notice", "offline_sale", "adjust", "tip", "moto_sale", "moto_completion",
        "instalment_sale", "reservation_sale", "chip_offline_sale",
    }  # fmt: skip
    assert not any(kinds[row.name] for row in BY_NAME.values() if row.effect in ("undo", "hold", "none"))


# dates


def test_settlement_days_get_their_year() -> None:
    new_year_s_eve = 1_798_718_400_000  # 2026-12-31 20:00 in Beijing
    assert full_date("1231", new_year_s_eve) == full_date("", new_year_s_eve) == "2026-12-31"
    assert full_date("0101", new_year_s_eve) == "2027-01-01"
    assert full_date("1231", new_year_s_eve + 86_400_000) == "2026-12-31"
    assert full_date("", 1_473_091_199_000) == "2016-09-05", "one second before midnight in Beijing"
    assert full_date("", 1_473_091_200_000) == "2016-09-06"
    assert [civil(days) for days in (0, 11_016, 11_017)] == [(1970, 1, 1), (2000, 2, 29), (2000, 3, 1)]
    assert [is_date(text) for text in ("2024-02-29", "2100-02-29", "2023-02-29", "2023-2-28", "20230228")] == [
        True, False, False, False, False,
    ]  # fmt: skip
    assert [within(day, "1230", "0102") for day in ("1229", "1230", "0102", "0103")] == [False, True, True, False]


# start and reload


def test_a_switch_loads_its_tariff_and_reloads_it(tmp_path: Path) -> None:
    directory = lay(tmp_path / "day", 7, 3, "1028").directory
    source, own = directory / "switch.toml", directory / "own.csv"
    config = read_config(source, SwitchConfig)
    engine, _ = build_engine(config, directory, secrets.token_bytes)
    start = began(source, config)
    assert engine.status()["tariff"] == "domestic: 12 rows"
    text = source.read_text(encoding="utf-8")
    source.write_text('tariff = "own.csv"\n' + text.replace('to = "core"', 'to = "cups"'), encoding="utf-8")
    before = engine.tariff, engine.office.routes
    own.write_text(f"{HEADER}\n{GOOD}\n{GOOD}\n", encoding="utf-8")

    def reload() -> str:
        return reload_engine(engine, start, read_config(source, SwitchConfig), secrets.token_bytes)

    with pytest.raises(ConfigError, match=r"own\.csv: line 3: could be meant where line 2 is"):
        reload()
    assert (engine.tariff, engine.office.routes) == before, "not the good part of the change either"
    assert engine.office.routes.of("6212140000000000030") == ("core", "debit")
    own.write_text(f"{HEADER}\n{GOOD}\n", encoding="utf-8")
    reload()
    assert engine.status()["tariff"] == "own: 1 rows"
    assert engine.office.routes.of("6212140000000000030") == ("cups", "debit")


def test_a_switch_with_a_bad_tariff_does_not_start(tmp_path: Path) -> None:
    directory = lay(tmp_path / "day", 7, 3, "1028").directory
    source = directory / "switch.toml"
    source.write_text('tariff = "nowhere.csv"\n' + source.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"nowhere\.csv: No such file"):
        build_engine(read_config(source, SwitchConfig), directory, secrets.token_bytes)
    with pytest.raises(ConfigError, match="No such file"):
        tariff_for("nothing", directory)
