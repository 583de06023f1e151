"""Each transaction of the matrix, both suites, both links: what the network saw, what the terminal got, in which order
rows became durable."""

import time
from typing import Any, NamedTuple

import pytest
from engine_requests import ask, authentic, fields_of, item, of_suite, without
from house import NOON, House

from switch.crypto import pinblock
from switch.crypto.block import cipher
from switch.engine.outward import DETAIL_USAGES
from switch.machine import Post, Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK, POS
from switch.wire.message import Message
from switch.wire.private import read_54, read_sm_pin
from switch.wire.private_network import read_90, read_original_amount
from switch.wire.transactions import BY_NAME, CHAINS, ROWS
from terminals.device import pos
from terminals.device.dialogue import Outcome
from terminals.device.memory import Memory
from terminals.goods import VOICE_CODE, extras

NET, POSC = codec_of(NETWORK), codec_of(POS)
LINKS = {"core": 0, "cups": 1}


class Played(NamedTuple):
    """One transaction and what it left: the network's request and answer, the terminal's answer, the effects."""

    house: House
    memory: Memory
    outcome: Outcome
    request: Message
    answer: Message
    reply: Message
    sends: dict[str, Send]
    effects: list[tuple[str, Any]]


def perform(house: House, memory: Memory, kind: str, link: str, pin: bool = True) -> Outcome:
    card = house.card(LINKS[link], 1)
    row = BY_NAME[kind]
    original = memory.items[-1] if row.original else None
    amount = {"capture": 1200, "credit": 400}.get(row.effect, 1300) if row.amount else 0
    if original is not None and (row.undoes or row.effect == "none"):
        amount = original.amount_minor
    more = extras(row, house.card(LINKS[link], 2).pan)
    flow = pos.transact(memory, house.line, kind, card, amount, original, pin=pin, **more)
    outcome: Outcome = house.run(flow)
    return outcome


def play(kind: str, suite: str, link: str, pin: bool = True) -> Played:
    house = House()
    memory = of_suite(house, suite)
    assert house.run(pos.sign_in(memory, house.line)).approved
    for earlier in CHAINS[kind]:
        assert perform(house, memory, earlier, link).approved
    house.pass_time(61)
    start = len(house.effects)
    outcome = perform(house, memory, kind, link, pin)
    effects = house.effects[start:]
    sends = {}
    for name, effect in effects:
        if isinstance(effect, Send):
            to = "terminal" if not effect.link.name else "network" if name == "switch" else "switch"
            assert to not in sends, "one message each"
            sends[to] = effect
    return Played(
        house, memory, outcome, NET.decode(sends["network"].body), NET.decode(sends["switch"].body),
        POSC.decode(sends["terminal"].body), sends, effects,
    )  # fmt: skip


PLAYED = [row for row in ROWS if not (row.confirms or row.chip)]
ALL = [(row.name, suite, link) for row in PLAYED for suite in ("3des", "sm4") for link in LINKS]


@pytest.fixture(params=ALL, ids=["-".join(one) for one in ALL], scope="module")
def played(request: pytest.FixtureRequest) -> Played:
    return play(*request.param)


def link_of(played: Played) -> str:
    return played.sends["network"].link.name


def test_codes_and_keys(played: Played) -> None:
    row, fields = BY_NAME[played.outcome.kind], played.request.fields
    wall = time.gmtime(played.house.wall + 8 * 3600)
    assert played.request.mti == row.network_mti
    assert fields[3] == ("300000" if row.tells_balance else row.processing_code)
    assert fields[25] == row.condition
    assert fields[7] == time.strftime("%m%d%H%M%S", wall)
    assert fields[7] > time.strftime("%m%d%H%M%S", time.gmtime(NOON + 8 * 3600)), "the switch's own time"
    assert (fields[12], fields[13]) == (fields[7][4:], fields[7][:4])
    counterpart = played.house.engine.office.counterparts[link_of(played)]
    assert fields[11] == f"{counterpart.stan_last:06d}", "the line's own number, not the terminal's"
    assert fields[37] == played.reply.fields[37] == played.outcome.rrn
    assert (fields[32], fields[33]) == ("04384530", "04384530")
    assert fields[49] == "156"
    assert (4 in fields) == row.amount
    assert not fields.keys() & {61, 62, 64, 100}


def test_who_and_where(played: Played) -> None:
    fields, memory = played.request.fields, played.memory
    assert (fields[41], fields[42], fields[18]) == (memory.tid, memory.mid, memory.mcc)
    assert memory.mid[7:11] == memory.mcc
    assert fields[43].rstrip() == memory.merchant_name
    assert len(fields[43].encode("gbk")) == 40
    assert fields[60][:4] == "0000"
    assert len(fields[60]) == 23
    assert fields[60][8:10] == (BY_NAME[played.outcome.kind].terminal_type or "03"), "a POS, if nothing else"
    assert fields[60][18:21] == ("004" if link_of(played) == "core" else "000"), "the MAC's algorithm"


def test_the_card(played: Played) -> None:
    fields = played.request.fields
    card = played.house.card(LINKS[link_of(played)], 1)
    assert fields[2] == card.pan
    row = BY_NAME[played.outcome.kind]
    assert fields[22] == (row.entry or "02") + ("1" if row.pin else "2")
    if row.entry:
        assert 35 not in fields, "the card was not there"
        assert fields.get(14) == (None if row.drops_expiry else card.expiry)
        return
    assert fields[35] == card.track2.replace("D", "=")
    assert "D" not in fields[35]
    assert 14 not in fields, "the stripe was read: the track holds the expiry"


def test_the_pin_under_the_line_s_key(played: Played) -> None:
    fields, link = played.request.fields, link_of(played)
    if not BY_NAME[played.outcome.kind].pin:
        assert not fields.keys() & {26, 52, 53, 63}
        return
    house, card = played.house, played.house.card(LINKS[link], 1)
    section = house.engine.office.counterparts[link].profile.keys
    assert fields[26] == "12"
    assert fields[53] == ("2400000000000000" if link == "core" else "2600000000000000")
    block = read_sm_pin(fields[63]) if link == "core" else fields[52]
    # an HSM gives no PIN away, so the key is looked up under the master key that both sides hold
    hsm = house.engine.office.hsm
    wrapped = hsm.export(f"zpk/{link}", f"zmk/{link}").wrapped
    zmk = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    zpk = cipher(section.suite, zmk).decrypt(wrapped)
    clear = cipher(section.suite, zpk).decrypt(block)
    assert pinblock.decode(section.pin_format, clear, card.pan) == card.pin
    if link == "core":
        assert fields[52] == bytes(8)


def test_the_original(played: Played) -> None:
    kind, fields, house = played.outcome.kind, played.request.fields, played.house
    row = BY_NAME[kind]
    if not row.original:
        assert 90 not in fields
        assert fields.get(38) == (VOICE_CODE if row.voice else None)
        assert (48 in fields) == (row.detail in DETAIL_USAGES)
        assert (103 in fields) == (row.detail == "transfer")
        if 103 in fields:
            assert fields[103] == house.card(LINKS[link_of(played)], 2).pan
        return
    earlier = [row for row in house.of("journal") if row["state"] == "answered"][-2]
    assert fields[38] == earlier["auth_code"]
    assert (48 in fields) == (row.effect == "credit")
    if row.effect == "credit":
        assert read_original_amount(fields[48]) == earlier["amount"] == 1300
    assert (90 in fields) == row.elements
    if 90 in fields:
        original = read_90(fields[90])
        first = (earlier["net_mti"], earlier["net_stan"], earlier["net_time"])
        assert (original.mti, original.stan, original.time) == first
        assert len(fields[90]) == 42
        assert fields[90][20:] == "00004384530" * 2


def test_the_answer_at_the_terminal(played: Played) -> None:
    reply, answer, kind = played.reply.fields, played.answer.fields, played.outcome.kind
    row = BY_NAME[kind]
    assert played.outcome.approved
    assert played.reply.mti == row.mti[:2] + str(int(row.mti[2]) + 1) + "0"
    assert reply[39] == answer[39] == "00"
    assert (reply[12], reply[13]) == (played.request.fields[12], played.request.fields[13])
    assert reply[15] == answer[15] == "1028"
    assert reply[32] == "04384530"
    assert reply.get(38) == answer.get(38)
    assert (38 in reply) == row.amount
    assert not row.voice or reply[38] == VOICE_CODE
    assert reply[44] == f"{answer[100]:<11}04384530   "
    assert reply[63] == b"CUP"
    assert (reply[41], reply[42], reply[60]) == (played.memory.tid, played.memory.mid, reply[60])
    assert reply[60][2:8] == played.memory.batch
    assert (4 in reply) == row.amount
    assert not reply.keys() & {35, 52, 55, 62}
    assert authentic(played.memory, played.reply)


def test_the_balance(played: Played) -> None:
    if not BY_NAME[played.outcome.kind].tells_balance:
        assert 54 not in played.reply.fields
        return
    card = played.house.card(LINKS[link_of(played)], 1)
    [entry] = read_54(played.reply.fields[54])
    assert (entry.amount_type, entry.amount_minor) == ("02", card.balance_minor)
    assert len(read_54(played.answer.fields[54])) == 2


def test_nothing_leaves_before_its_row(played: Played) -> None:
    posts = [effect for name, effect in played.effects if name == "switch" and isinstance(effect, Post)]
    assert [(post.table, post.row[2]) for post in posts] == [("journal", "sent"), ("journal", "answered")]
    sent, answered = (post.number for post in posts)
    assert answered == sent + 1
    assert played.sends["network"].after == sent
    assert played.sends["terminal"].after == answered
    order = [effect for name, effect in played.effects if isinstance(effect, Post | Send)]
    assert order.index(posts[0]) < order.index(played.sends["network"])
    assert order.index(posts[1]) < order.index(played.sends["terminal"])
    ledger = [effect for name, effect in played.effects if name != "switch" and isinstance(effect, Post)]
    assert played.sends["switch"].after == ledger[-1].number


def test_the_books(played: Played) -> None:
    house, outcome = played.house, played.outcome
    first, last = house.of("journal")[-2:]
    assert (first["state"], last["state"], last["response_code"]) == ("sent", "answered", "00")
    assert first["link"] == link_of(played)
    assert first["on_us"] == (first["link"] == "core")
    assert first["entry_mode"][:2] == (BY_NAME[outcome.kind].entry or "02")
    assert (first["amount"], first["currency"]) == (outcome.amount_minor, "156")
    assert (last["settlement_date"], last["receiver"]) == ("1028", played.answer.fields[100])
    card = house.card(LINKS[link_of(played)], 1)
    assert card.pan.encode() not in first["pan_sealed"]
    assert first["pan_masked"] == card.pan[:6] + "*" * (len(card.pan) - 10) + card.pan[-4:]
    assert house.engine.office.open_card(house.engine.office.books.by_rrn[outcome.rrn]) == card.pan
    books = house.books()
    assert books.breaks == []
    assert books.agreed
    assert all(centre.check() for centre in house.centres.values())


@pytest.mark.parametrize("kind", ["sale", "preauth_void", "sale_void"])
def test_keyed_entry(kind: str) -> None:
    """The number from DE2 with its expiry, which a void of a sale does not repeat; no PIN, so nothing of one."""
    house = House()
    memory = house.memories[0]
    card = house.card(1)
    first = pos.sale if kind != "preauth_void" else pos.preauth
    outcome = house.run(first(memory, house.line, card, 900, entry=pos.KEYED, pin=False))
    if kind != "sale":
        outcome = house.run(pos.transact(memory, house.line, kind, None, 900, outcome.item))
    assert outcome.approved
    fields = [message for message in house.said("cups") if message.mti[:2] in ("01", "02")][-1].fields
    assert fields[22] == "012"
    assert fields.get(14) == (None if kind == "sale_void" else card.expiry)
    assert not fields.keys() & {26, 35, 52, 53}


def test_a_decline_needs_no_row_but_has_one() -> None:
    """A refusal may leave at once: nothing depends on it."""
    house = House()
    memory = house.memories[0]
    card = house.card(1)
    outcome = house.run(pos.sale(memory, house.line, card, 900), pin="000000")
    assert (outcome.state, outcome.response_code) == ("declined", "55")
    send = [effect for _, effect in house.effects if isinstance(effect, Send) and not effect.link.name][-1]
    assert send.after == 0
    assert 64 not in POSC.decode(send.body).fields
    row = house.of("journal")[-1]
    assert (row["state"], row["response_code"], row["auth_code"]) == ("answered", "55", "")


def test_an_encrypted_track() -> None:
    """DE53 says that the track is under the terminal's track key: it is opened at the switch, never passed on so."""
    house = House()
    memory = of_suite(house, "sm4")
    assert house.run(pos.sign_in(memory, house.line)).approved
    card = house.card(1)
    fields = without(fields_of(house, memory, item(house, memory, "sale", issuer=1)), 2, 14)
    fields |= {22: "022", 35: memory.pinpad.track(card.track2.replace("=", "D")), 53: "0410000000000000"}
    assert card.pan not in fields[35]
    assert ask(house, memory, "0200", fields).fields[39] == "00"
    request = house.said("cups")[-1].fields
    assert request[2] == card.pan
    assert request[35] == card.track2
    assert 53 not in request
