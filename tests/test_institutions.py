"""More than one network, each with its profile; and a small bank behind its union's switch."""

import msgspec
import pytest
from house import House, network, standard_lines

from switch.wire.profile import NetworkHeaderSection, NetworkKeysSection, NetworkProfile
from terminals.device import pos

SECOND = msgspec.structs.replace(
    network("cups"),
    name="second",
    acquirer="06660000",
    forwarder="06660001",
    header=NetworkHeaderSection(destination="00020000", source="06660001"),
    keys=NetworkKeysSection(suite="sm4", pin_format="sm4", pin_carrier="de63-sm", algorithm_digit="4"),
)
"""Another network: other institutions, another centre, SM4 where the first has 3DES."""


def three_lines() -> dict[str, tuple[NetworkProfile, tuple[int, ...]]]:
    """Issuers 1 and 2 behind the first network, 3 and 4 behind the second, the own bank's core."""
    lines = standard_lines()
    return {"cups": (lines["cups"][0], (1, 2)), "second": (SECOND, (3, 4)), "core": lines["core"]}


def sent(house: House, line: str) -> list[dict[int, object]]:
    """Fields of the financial requests that left over a line."""
    return [message.fields for message in house.said(line) if message.mti in ("0100", "0200", "0220")]


@pytest.mark.parametrize(
    ("issuer", "line", "acquirer", "forwarder"),
    [(0, "core", "04384530", "04384530"), (1, "cups", "04384530", "04384530"), (3, "second", "06660000", "06660001")],
)
def test_each_card_goes_to_its_network_in_the_right_name(issuer: int, line: str, acquirer: str, forwarder: str) -> None:
    house = House(terminals=2, behind=three_lines())
    memory = house.memories[0]
    outcome = house.run(pos.sale(memory, house.line, house.card(issuer), 700))
    assert outcome.approved
    [fields] = sent(house, line)
    assert (fields[32], fields[33]) == (acquirer, forwarder)
    assert not any(sent(house, other) for other in house.behind if other != line)
    row = house.of("journal")[-1]
    assert (row["link"], row["acquirer"], row["forwarder"]) == (line, acquirer, forwarder)
    assert house.books().agreed


def test_a_void_names_its_original_by_the_second_networks_institutions() -> None:
    house = House(terminals=1, behind=three_lines())
    memory, card = house.memories[0], house.card(3)
    sale = house.run(pos.sale(memory, house.line, card, 700))
    assert house.run(pos.sale_void(memory, house.line, sale.item, card)).approved
    original = str(sent(house, "second")[-1][90])
    assert original.endswith("000" + "06660000" + "000" + "06660001")
    assert house.books().agreed


def test_each_network_keeps_its_own_day() -> None:
    house = House(terminals=1, behind=three_lines())
    memory = house.memories[0]
    assert house._do("second", lambda centre, now, out: centre.cutover("1029", 1.0, now, out))
    house.pass_time(3)
    dates = {}
    for issuer, line in ((0, "core"), (1, "cups"), (3, "second")):
        outcome = house.run(pos.sale(memory, house.line, house.card(issuer), 100))
        if outcome.response_code == "90":  # the first request after a roll
            outcome = house.run(pos.sale(memory, house.line, house.card(issuer), 100))
        dates[line] = outcome.item.settlement_date
    assert dates == {"core": "1028", "cups": "1028", "second": "1029"}
    assert house.books().agreed


def test_a_small_bank_behind_its_unions_switch() -> None:
    """The union's switch is the counterpart for everything: the bank acquires (DE32), the union forwards (DE33)."""
    union = msgspec.structs.replace(
        network("cups"), name="union", acquirer="04020001", forwarder="14020000",
        header=NetworkHeaderSection(destination="14020000", source="04020001"),
    )  # fmt: skip
    house = House(terminals=2, behind={"union": (union, (0, 1, 2, 3, 4))})
    memory = house.memories[0]
    for issuer in range(5):
        assert house.run(pos.sale(memory, house.line, house.card(issuer), 300)).approved
    assert {(f[32], f[33]) for f in sent(house, "union")} == {("04020001", "14020000")}
    assert house.run(pos.settle(memory, house.line)).reason == "balanced"
    result = house.books()
    assert result.agreed
    assert result.totals["1028", "sale"].issuers == [5, 1500]
