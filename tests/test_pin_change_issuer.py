"""PIN change at the issuer: what it decides, in which order, and what it keeps."""

from typing import Any

import pytest
from issuer_member import Member, cipher

from switch.clearing.schema import ISSUER_TABLES, PINS
from switch.crypto import pinblock
from switch.issuer.host import PIN_REFERENCE_KEY
from switch.issuer.portfolio import Card
from switch.net.disk import Disk
from switch.wire.private import write_new_pin

NEW = "905173"


def change(member: Member, card: Card, pin: str, new: str | bytes = NEW, **extra: Any) -> str:
    """The answer to a PIN change; `new` may be the deciphered block itself."""
    section = member.profile.keys
    clear = pinblock.encode(section.pin_format, new, card.pan) if isinstance(new, str) else new
    block = cipher(section.suite, member.keys["1"]).encrypt(clear)
    first = member.pin_fields(card, pin).get(63, b"")
    fields = {"de4": None, "de63": write_new_pin(63, block, first)} | extra
    return member.code("atm_pin_change", card, 0, pin, **fields)


@pytest.fixture(params=["cups", "core"])
def member(request: pytest.FixtureRequest) -> Member:
    return Member(request.param, own=request.param == "core")


def test_a_change_is_two_rows_and_the_answer_waits_for_both(member: Member) -> None:
    card = member.card()
    assert change(member, card, card.pin) == "00"
    assert (member.last("kind"), member.last("effect"), member.last("posted_minor")) == ("atm_pin_change", "none", 0)
    (row,) = member.pins
    told = dict(zip(PINS.names, row, strict=True))
    assert told["number"] == 2
    assert (told["issuer"], told["link"]) == (card.issuer.institution, member.profile.name)
    assert told["pin_reference"] == member.hsm.pin_reference(PIN_REFERENCE_KEY, card.pan, NEW)
    assert told["pan_hash"] == member.last("pan_hash")
    assert member.sent[-1].after == 2


def test_the_old_pin_is_verified_first_and_counted(member: Member) -> None:
    card = member.card()
    wrong = f"{(int(card.pin) + 1) % 10**6:06d}"
    assert change(member, card, wrong) == "55"
    assert member.account(card).tries == 1
    assert member.pins == []
    assert change(member, card, card.pin) == "00"
    assert member.account(card).tries == 0
    assert member.code("balance", card, 0, card.pin) == "55"
    assert member.code("balance", card, 0, NEW) == "00"
    assert change(member, card, card.pin, "111111") == "55"


@pytest.mark.parametrize("what", ["garbage", "lost"])
def test_a_refused_change_leaves_the_pin(member: Member, what: str) -> None:
    size = 16 if member.profile.keys.suite == "sm4" else 8
    card = member.card()
    if what == "garbage":
        assert change(member, card, card.pin, bytes(range(1, size + 1))) == "99"
    else:
        first = member.pin_fields(card, card.pin).get(63)
        assert change(member, card, card.pin, de63=first) == "30"
    assert member.pins == []
    assert member.code("balance", card, 0, card.pin) == "00"


def test_a_change_without_any_pin_is_a_format_error(member: Member) -> None:
    card = member.card()
    assert member.code("atm_pin_change", card, de4=None) == "30"
    assert change(member, card, card.pin, de53=None) == "30"


def test_the_same_request_again_is_94_and_a_reversal_12(member: Member) -> None:
    card = member.card()
    section = member.profile.keys
    block = cipher(section.suite, member.keys["1"]).encrypt(pinblock.encode(section.pin_format, NEW, card.pan))
    first = member.pin_fields(card, card.pin).get(63, b"")
    message = member.request("atm_pin_change", card, 0, card.pin, de4=None, de63=write_new_pin(63, block, first))
    assert member.ask(message)[39] == "00"
    assert member.ask(message)[39] == "94"
    reversal = member.reversal(message, de4="0" * 12)
    assert member.ask(reversal)[39] == "12"
    assert len(member.pins) == 1
    assert member.code("balance", card, 0, NEW) == "00"


def test_recovery_takes_the_last_reference_of_each_card() -> None:
    member = Member("cups")
    one, two = member.card(0), member.card(1)
    assert [change(member, one, one.pin), change(member, two, two.pin, "1234"), change(member, one, NEW, "604212")] == [
        "00", "00", "00",
    ]  # fmt: skip
    fresh = member.restarted()
    assert fresh.code("balance", one, 0, NEW) == "55"
    assert fresh.code("balance", one, 0, "604212") == "00"
    assert fresh.code("balance", two, 0, "1234") == "00"
    assert change(fresh, two, "1234", "123456") == "00"
    assert [row[0] for row in fresh.pins] == [2, 4, 6, 11]


def test_the_store_keeps_the_references_beside_the_ledger(tmp_path: Any) -> None:
    member = Member("cups")
    card = member.card()
    assert change(member, card, card.pin) == "00"
    disk = Disk(tmp_path / "issuers.db", ISSUER_TABLES)
    disk.add(1, "ledger", member.rows[0])
    disk.add(2, PINS.name, member.pins[0])
    assert disk.commit() == 2
    disk.close()
    again = Disk(tmp_path / "issuers.db", ISSUER_TABLES)
    assert again.durable == 2
    assert [(name, row[0]) for name, row in again.history()] == [("ledger", 1), ("pins", 2)]
    assert list(again.table(PINS.name)) == [member.pins[0]]
    assert [row[0] for row in again.table("ledger")] == [1]
    again.close()
