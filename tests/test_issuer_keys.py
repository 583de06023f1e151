"""Key reset: both suites, the overlap of old and new, what is refused or never acknowledged."""

import msgspec
import pytest
from issuer_member import CODEC, ZMK, Member

from switch.crypto.block import cipher
from switch.wire.private_network import read_new_key
from switch.wire.profile import load_profile


def single_length():
    profile = load_profile("cups")
    keys = msgspec.structs.replace(profile.keys, mac="x9.9", mac_key_bytes=8)
    return msgspec.structs.replace(profile, keys=keys)


@pytest.mark.parametrize("name", ["cups", "core"])
def test_a_reset_changes_both_keys(name):
    member = Member(name)
    card = member.card()
    before = dict(member.keys)
    member.drain_reset()
    assert set(before.values()).isdisjoint(member.keys.values())
    assert member.code("sale", card, 100, pin=card.pin) == "00"
    assert member.centre.statistics()["keys_reset"] == 4
    assert member.profile.keys.suite == ("sm4" if name == "core" else "3des")


def test_a_single_length_mac_key_travels_in_de96():
    member = Member(profile=single_length())
    reset = next(send.body for send in member.sent if send.body.startswith(b"0800"))
    message = CODEC.decode(reset)
    assert len(message[96]) == 8
    assert 48 not in message
    assert message[53] == "20" + "0" * 14
    assert len(member.keys["2"]) == 8
    assert member.code("sale", member.card(), 100) == "00"


def test_the_old_keys_are_taken_for_a_while():
    member = Member()
    card = member.card()
    old = dict(member.keys)
    member.drain_reset()
    fresh, member.keys = member.keys, old
    request = member.request("sale", card, 100, pin=card.pin)
    mac = member.mac("0200", request.fields)
    member.keys = fresh
    (reply,) = member.send(request, mac)
    assert reply[39] == "00"
    member.mono += member.profile.keys.overlap_s
    late = member.request("sale", card, 100)
    (reply,) = member.send(late, member.mac("0200", late.fields, old["2"]))
    assert reply[39] == "A0"
    stale = member.request("sale", card, 100)
    stale.fields |= member.pin_fields(card, card.pin, old["1"])
    stale.fields = dict(sorted(stale.fields.items()))
    assert member.ask(stale)[39] in ("99", "55")


def test_a_wrong_pin_counts_once_while_two_keys_are_tried():
    member = Member()
    card = member.card()
    wrong = "000000" if card.pin != "000000" else "111111"
    member.drain_reset()
    assert [member.code("sale", card, 1, pin=wrong) for _ in range(3)] == ["55", "55", "75"]


def test_a_refused_key_never_comes_into_force():
    member = Member()
    member.acknowledge = "96"
    member.drain_reset()
    assert member.centre.statistics()["keys_refused"] == 1
    assert member.code("sale", member.card(), 100) == "00"


def silent(member):
    """Let the centre offer a MAC key and hear nothing; returns the 0800."""
    out = []
    member.centre.reset_keys(member.now, out)
    return CODEC.decode(next(effect.body for effect in out if hasattr(effect, "body")))


def test_an_unacknowledged_key_is_given_up():
    member = Member()
    silent(member)
    member.wait(30)
    assert member.centre.statistics()["keys_unacknowledged"] == 1
    assert "zak/cups/new" not in member.hsm
    assert member.code("sale", member.card(), 100) == "00"


def test_an_acknowledgement_that_is_not_right_changes_nothing():
    member = Member()
    offer = silent(member)
    new = cipher("3des", ZMK).decrypt(read_new_key(offer[48]))
    reply = {7: offer[7], 11: offer[11], 39: "00", 53: offer[53], 70: "101", 100: offer[100]}
    member.push(CODEC.encode("0810", reply | {128: "00000000"}))
    member.push(CODEC.encode("0810", reply | {11: "999999", 128: member.mac("0810", reply, new, reset=True)}))
    counts = member.centre.statistics()
    assert (counts["bad_mac"], counts["unexpected"], counts["keys_reset"]) == (1, 1, 2)
    member.keys["2"] = new
    member.push(CODEC.encode("0810", reply | {128: member.mac("0810", reply, new, reset=True)}))
    # the PIN key followed at once
    assert member.centre.statistics()["keys_reset"] == 4


def test_offers_end_with_their_line():
    member = Member()
    silent(member)
    member.centre.link_down(member.link, member.now, [])
    assert "zak/cups/new" not in member.hsm
    assert member.centre.reset_keys(member.now, []) is False


def test_a_member_that_asks_for_its_pin_key_first_gets_the_mac_key_before_it():
    member = Member(signed_on=False)
    assert member.manage("001")[39] == "00"
    assert member.manage("101", de53="16" + "0" * 14)[39] == "00"
    assert list(member.keys) == ["2", "1"]
    card = member.card()
    assert member.code("sale", card, 100, pin=card.pin) == "00"


def test_nothing_shows_a_key():
    member = Member()
    text = repr([member.hsm, member.centre, member.centre.statistics(), member.rows])
    assert all(key.hex() not in text.lower() for key in (*member.keys.values(), ZMK))


def test_what_waited_for_a_key_given_up_is_not_offered_later():
    member = Member()
    silent(member)
    member.wait(30)
    assert member.manage("101", de53="26" + "0" * 14)[39] == "00"
    counts = member.centre.statistics()
    assert (counts["keys_reset"], counts["keys_unacknowledged"]) == (3, 1)
