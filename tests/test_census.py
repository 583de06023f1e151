"""Profiles of fleets: the figures of their sources, and what is wrong with one told with line and remedy."""

from pathlib import Path

import pytest

from terminals.census import CensusError, is_census, load_census, parse_census, shipped, shipped_lines
from terminals.field import lines_by_share, order_lines


def test_the_shipped_fleets_say_what_their_sources_say() -> None:
    assert shipped() == ["anhui-2015", "nation-2015", "rural-bank-2013"]
    anhui, bank, nation = (load_census(name) for name in ("anhui-2015", "rural-bank-2013", "nation-2015"))
    assert (anhui.pos.terminals, anhui.pos.contactless) == (443_000, 0.711)
    assert (anhui.atm.terminals, anhui.atm.contactless) == (19_000, 0.54)
    assert (anhui.validators.terminals, anhui.validators.fare_minor) == (4_200, 109)
    assert (bank.pos.terminals, bank.pos.a_merchant, bank.pos.amount_minor) == (740, 1, 1_140_100)
    assert (bank.atm.terminals, bank.atm.a_day) == (34, 58.5)
    assert bank.atm.mix == {"atm_withdrawal": 944, "atm_deposit": 34, "atm_transfer": 20, "atm_inquiry": 2}
    assert (nation.pos.contact, nation.pos.contactless) == (0.999, 0.55)
    assert (nation.atm.contact, nation.atm.contactless) == (0.99, 0.412)
    assert bank.rates[1] == pytest.approx(34 * 58.5 / 86_400)


def test_lines_are_slow_as_lines_were() -> None:
    lines = shipped_lines()
    assert {name: line.kept for name, line in lines.items()} == {"dial": False, "gprs": False, "leased": True}
    assert lines["dial"].takes_s(300) == pytest.approx(0.1 + 1.0)
    assert lines["leased"].takes_s(250) == pytest.approx(0.005 + 0.001)


def test_terminals_have_lines_by_their_shares() -> None:
    census = load_census("anhui-2015")
    over = lines_by_share(order_lines(census, census.pos))
    counts = [sum(over(n) == line for n in range(10_000)) for line in shipped_lines().values()]
    assert counts == [3_500, 5_000, 1_500]
    assert lines_by_share([])(3) is None


@pytest.mark.parametrize(
    ("terminals", "parts"),
    [(466_200, (443_000, 19_000, 4_200)), (2_000, (1_901, 81, 18)), (3, (1, 1, 1)), (1, (1, 0, 0))],
)  # fmt: skip
def test_a_fleet_is_scaled_by_its_shares(terminals: int, parts: tuple[int, int, int]) -> None:
    census = load_census("anhui-2015").scaled(terminals)
    assert (census.pos.terminals, census.atm.terminals, census.validators.terminals) == parts
    assert census.terminals == terminals


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[pos]\nterminals = 5\ncontactles = 0.3", "line 4: pos.contactles: is not known; 'contactless' is meant?"),
        ("[pos]\nterminals = 5\n\ncontactless = 1.3", "line 5: pos.contactless: expected `float` <= 1.0"),
        ("[atm]\nterminals = 5\ncontact = 0.2\ncontactless = 0.3",
         "line 5: atm.contactless: 0.3 is more than contact, which includes it: 0.2 at most"),
        ("[pos]\nterminals = 5\nmix = { sal = 3 }", "line 4: pos.mix: there is no 'sal'; 'sale' is meant?"),
        ("[pos]\nterminals = 5\nmix = { sale = 0 }", "line 4: pos.mix: all shares are 0: one is needed at least"),
        ("[atm]\nterminals = 5\nmix = { sale = 3 }", "line 4: atm.mix: there is no 'sale'"),
        ("[pos]\nterminals = 5\nlines = { dail = 1 }", "line 4: pos.lines: there is no 'dail'; 'dial' is meant?"),
        ("[pos]\nterminals = 5\n[lines.tin_can]\nkept = 3", "line 5: lines.tin_can.kept: expected `bool`"),
        ("[pos]\nterminals = 900000", "line 3: pos.terminals: expected `int` <= 680000"),
        ("[pos]\nterminals = 0", "no terminals: pos, atm, validators need one with terminals = 1 or more"),
        ("[pos\nterminals = 5", "(at line 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(CensusError) as caught:
        parse_census(f'name = "mine"\n{text}\n', "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert told in str(caught.value)


def test_a_file_of_ones_own_with_a_line_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\n[pos]\nterminals = 9\ncontactless = 0.5\nlines = { tin_can = 1 }\n'
        "[lines.tin_can]\nround_trip_ms = 3000.0\nkept = false\n"
    )
    assert is_census(str(file))
    census = load_census(str(file))
    assert census.line("tin_can").takes_s(0) == 1.5
    assert not is_census("unionpay-pos")
    other = tmp_path / "profile.toml"
    other.write_text('extends = "unionpay-pos"\nname = "other"\n')
    assert not is_census(str(other))
    with pytest.raises(CensusError, match=r"nowhere: No such file.*; shipped are anhui-2015"):
        load_census("nowhere")
