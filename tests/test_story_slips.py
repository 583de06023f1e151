"""What a card does wrong at one command, and what stories say of binary fields."""

from typing import Any

from scenarios.story.booth import Slips, answered
from scenarios.story.changes import told_otherwise
from scenarios.story.house import House
from scenarios.world.ground import pos_profile

SELECT, GENERATE_AC = bytes.fromhex("00A4040000"), bytes.fromhex("80AE800000")
CAST: dict[str, Any] = {"t1": {"terminal": "chip-shop", "signed_in": True}, "c1": {"card": "debit-chip"}}


def test_a_slip_waits_for_its_command() -> None:
    slips = Slips()
    second: dict[str, Any] = {"what": "pull", "command": "ae", "nth": 2}
    first = {"what": "answer", "with": "6A82"}
    slips.expect(second)
    slips.expect(first)
    assert [slips.at(command) for command in (SELECT, SELECT, GENERATE_AC, GENERATE_AC)] == [first, None, None, second]
    assert answered(first) == b"\x6a\x82"
    slips.expect(second)
    slips.clear()
    assert [slips.at(GENERATE_AC), slips.at(GENERATE_AC)] == [None, None]


def test_slips_last_one_dialogue() -> None:
    house = House(CAST)
    fault = {"on": "c1", "what": "answer", "nth": 90}
    house.terminals["t1"].do("sale", amount=12, faults=[fault], expect={"answer": "00"})
    house.terminals["t1"].do("sale", amount=12, expect={"answer": "00"})
    assert not house.stage.booths["t1"].slips._waiting


def test_a_captured_binary_field_is_sent_again() -> None:
    house = House(CAST)
    terminal = house.terminals["t1"]
    told = {"55": {"capture": "icc"}, "55.9F1A": "0156", "55.9F26": {"length": 16}}
    terminal.do("sale", amount=12, expect={"request": {"de": told}})
    again = terminal.send(like="sale", fields={"22": "052", "23": "001", "55": "0x$icc"}, amount=12)
    assert again.seen("request")[-1].fields[55].hex().upper() == house.player.kept["icc"]
    again.expect(answer="63")


def test_a_tag_that_holds_text_may_be_told_as_text() -> None:
    house = House({"t1": {"terminal": "tap-shop", "signed_in": True}, "c1": {"card": "dual"}})
    house.terminals["t1"].do("sale", entry="tap", amount=12)
    house.terminals["t1"].do("upload", expect={"request": {"mti": "0200", "de": {"55.8A": "Y1", "55.9F74": "ECC001"}}})


def test_a_list_of_a_profile_is_written_with_commas() -> None:
    assert told_otherwise(pos_profile(), {"chips.fallback": "80"}).chips.fallback == ("80",)
