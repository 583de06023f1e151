"""PIN change at the ATM: two blocks from the pad to the issuer, what the machine refuses, what survives a restart."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from house import DAY, House
from test_atm import Street, unheard

from scenarios.machines import Machines
from switch.crypto.errors import CryptoError, PinFormatError
from switch.issuer.centre import Centre
from switch.issuer.host import PIN_REFERENCE_KEY, Bank
from switch.issuer.portfolio import Card
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK, POS
from switch.wire.errors import DecodeError
from switch.wire.message import Message
from switch.wire.private import read_new_pin, read_sm_pin, read_usages, write_new_pin, write_sm_pin
from switch.wire.private_network import read_48_usages
from switch.wire.profile import NetworkProfile, PosProfile, ProfileError, load_profile, profile_from
from switch.wire.redact import masked
from switch.wire.transactions import BY_NAME
from terminals.device import atm, pos
from terminals.device.dialogue import Outcome, reversal_fields, sealed
from terminals.device.memory import Memory
from terminals.drive.instant import run
from terminals.figures import Figures
from terminals.flow import Ask, Call, Cancelled, FlowError
from terminals.holders import Holders
from terminals.trade import Habits, Site, Trade

NEW = "905173"
Host = Callable[[bytes], bytes | None]


class Pad:
    """The person at the machine: which PINs they type; None is the cancel key."""

    def __init__(self, street: Street, old: str = "", new: str | None = NEW, again: str | None = NEW) -> None:
        self.street, self.old, self.typed = street, old, {"new_pin": new, "new_pin_again": again}
        self.asked: list[str] = []

    def __call__(self, asked: Ask) -> Any:
        self.asked.append(asked.what)
        if asked.what in self.typed:
            if self.typed[asked.what] is None:
                raise Cancelled
            return self.typed[asked.what]
        return (self.old or asked.about.pin) if asked.what == "pin" else True


def change(street: Street, host: Host | None = None, **typed: Any) -> Any:
    return run(atm.change_pin(street.machine, street.house.line, street.card), host or street.house.ask,
               Pad(street, **typed))  # fmt: skip


def inquire(street: Street, pin: str) -> str:
    outcome = run(atm.inquire(street.machine, street.house.line, street.card), street.house.ask, Pad(street, pin))
    return str(outcome.response_code)


def sent(house: House, line: str) -> list[Message]:
    return [message for message in house.said(line) if message.get(3) == "700000"]


def at_the_terminal(bodies: list[bytes]) -> Message:
    """The PIN change among what a terminal said."""
    messages = [codec_of(POS).decode(body) for body in bodies if body[:2] == b"\x02\x00"]
    (message,) = (message for message in messages if message[3] == "700000")
    return message


def listening(house: House, heard: list[bytes]) -> Host:
    def host(body: bytes) -> bytes | None:
        heard.append(body)
        return house.ask(body)

    return host


def test_the_new_pin_holds_and_the_old_one_no_more() -> None:
    street = Street()
    pad = Pad(street)
    outcome = run(atm.change_pin(street.machine, street.house.line, street.card), street.house.ask, pad)
    assert (outcome.kind, outcome.state, outcome.response_code) == ("atm_pin_change", "approved", "00")
    assert pad.asked == ["pin", "new_pin", "new_pin_again", "card"]
    assert inquire(street, street.card.pin) == "55"
    assert inquire(street, NEW) == "00"
    row = street.house.of("journal")[1]
    assert (row["kind"], row["state"], row["amount"]) == ("atm_pin_change", "answered", 0)
    assert street.machine.pending is None
    street.close()


@pytest.mark.parametrize(("issuer", "line"), [(0, "core"), (1, "cups")])
@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_both_blocks_are_translated(issuer: int, line: str, suite: str) -> None:
    street = Street()
    street.house = House(2, machines=8)
    street.card = street.house.card(issuer, 1)
    machines = [memory for memory in street.house.memories if isinstance(memory, atm.AtmMemory)]
    street.machine = next(machine for machine in machines if machine.suite == suite)
    heard: list[bytes] = []
    assert change(street, listening(street.house, heard)).approved
    front = at_the_terminal(heard)
    (back,) = sent(street.house, line)
    size = 8 if suite == "3des" else 16
    new = read_new_pin(63, front[63])
    old = front[52] if suite == "3des" else read_sm_pin(front[63])
    assert len(new) == len(old) == size
    theirs = read_new_pin(63, back[63])
    assert len(theirs) == (16 if line == "core" else 8)
    assert len({old, new, theirs, read_sm_pin(back[63]) if line == "core" else back[52]}) == 4
    counterpart = street.house.engine.office.counterparts[line]
    hsm, keys = street.house.engine.office.hsm, counterpart.profile.keys
    pvk = "pvk/test"
    hsm.generate(pvk, "pvk", "aes", 32)
    wanted = hsm.pin_reference(pvk, street.card.pan, NEW)
    assert hsm.refer_to_pin(counterpart.zpk, keys.pin_format, street.card.pan, theirs, pvk) == wanted
    assert (back[25], back[60][8:10], 4 in back, 62 in back) == ("02", "01", False, False)
    assert [tag for tag, _ in read_usages(63, back[63])] == (["SM", "NP"] if line == "core" else ["NP"])


def test_the_profiles_say_where_the_second_block_stands() -> None:
    pos = load_profile("unionpay-pos")
    cups = load_profile("cups")
    assert isinstance(pos, PosProfile)
    assert isinstance(cups, NetworkProfile)
    suites = {name: _with(suite, "de62") for name, suite in pos.suites.items()}
    behind = {"cups": (_keys(cups, "de48"), (1, 2, 3, 4)), "core": (load_profile("core"), (0,))}
    house = House(2, behind=behind, machines=2, pos=_suites(pos, suites))  # type: ignore[arg-type]
    street = Street()
    street.house, street.card = house, house.card(1, 1)
    machine = house.memories[-1]
    assert isinstance(machine, atm.AtmMemory)
    street.machine = machine
    heard: list[bytes] = []
    assert change(street, listening(house, heard)).approved
    front = at_the_terminal(heard)
    assert [tag for tag, _ in read_usages(62, front[62])] == ["NP"]
    (back,) = sent(house, "cups")
    assert [tag for tag, _ in read_48_usages(back[48])] == ["NP"]
    assert 63 not in back
    assert inquire(street, NEW) == "00"


def _with(section: Any, carrier: str) -> Any:
    return msgspec.structs.replace(section, new_pin_carrier=carrier)


def _keys(profile: NetworkProfile, carrier: str) -> NetworkProfile:
    return msgspec.structs.replace(profile, keys=_with(profile.keys, carrier))


def _suites(profile: PosProfile, suites: Any) -> PosProfile:
    return msgspec.structs.replace(profile, suites=suites)


def test_a_profile_cannot_put_both_blocks_into_de62() -> None:
    with pytest.raises(ProfileError, match=r"suites\.sm4: DE62 cannot carry both PIN blocks"):
        profile_from(
            {
                "dialect": "pos",
                "name": "ours",
                "suites": {
                    "sm4": {
                        "sign_in_code": "006", "keys": [], "algorithm_digit": "4", "pin_format": "sm4",
                        "pin_carrier": "de62-22", "new_pin_carrier": "de62",
                    }
                },
            },
            "ours",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ({"again": "905174"}, "new PINs differ"),
        ({"new": None}, "cancelled"),
        ({"again": None}, "cancelled"),
    ],
)
def test_what_the_machine_refuses_is_not_sent(typed: dict[str, Any], reason: str) -> None:
    street = Street()
    outcome = change(street, **typed)
    assert (outcome.state, outcome.reason) == ("unsent", reason)
    assert street.house.of("journal") == []
    assert street.machine.retained == []
    assert inquire(street, street.card.pin) == "00"


def test_the_old_pin_is_no_new_one() -> None:
    street = Street()
    pin = street.card.pin
    outcome = change(street, new=pin, again=pin)
    assert (outcome.state, outcome.reason) == ("unsent", "new PIN is the old one")
    assert street.house.of("journal") == []


def test_who_refuses_the_pin_changes_none() -> None:
    street = Street()

    def person(asked: Ask) -> Any:
        return "" if asked.what == "pin" else True

    outcome = run(atm.change_pin(street.machine, street.house.line, street.card), street.house.ask, person)
    assert (outcome.state, outcome.reason) == ("unsent", "no PIN")


def test_a_wrong_old_pin_is_counted_and_changes_nothing() -> None:
    street = Street()
    wrong = f"{(int(street.card.pin) + 1) % 10**6:06d}"
    assert [change(street, old=wrong).response_code for _ in range(3)] == ["55", "55", "75"]
    assert change(street).response_code == "75", "the right one comes too late today"
    assert street.house.pins["core"] == []
    street.close()


@pytest.mark.parametrize("damage", ["old", "new", "short", "absent"])
def test_a_block_that_cannot_be_read(damage: str) -> None:
    """99 for a block that is none, 30 where the second one is not there; the PIN stays."""
    street = Street()

    def host(body: bytes) -> bytes | None:
        message = codec_of(POS).decode(body)
        if message.get(3) != "700000":
            return street.house.ask(body)
        fields = dict(message.fields)
        if damage == "old":
            fields[52] = bytes(8)
        elif damage == "new":
            fields[63] = b"NP008" + bytes(8)
        elif damage == "short":
            fields[63] = b"NP007" + bytes(7)
        else:
            del fields[63]
        body = codec_of(POS).encode("0200", fields)
        return street.house.ask(body[:-8] + street.machine.pinpad.mac(body[:-8]))

    assert street.machine.suite == "3des"
    outcome = change(street, host)
    assert outcome.response_code == ("30" if damage == "absent" else "99")
    assert sent(street.house, "core") == []
    assert inquire(street, street.card.pin) == "00"


def test_the_same_request_again_is_answered_94() -> None:
    street = Street()
    heard: list[bytes] = []
    assert change(street, listening(street.house, heard)).approved
    (body,) = (body for body in heard if codec_of(POS).decode(body).get(3) == "700000")
    reply = street.house.ask(body)
    assert reply is not None
    assert codec_of(POS).decode(reply)[39] == "94"
    assert len(street.house.pins["core"]) == 1


@pytest.mark.parametrize(("lose", "holds"), [("answer", NEW), ("request", "")])
def test_without_an_answer_nothing_is_reversed(lose: str, holds: str) -> None:
    street = Street()
    outcome = change(street, unheard(street.house, lose))
    assert (outcome.state, outcome.reason) == ("unknown", "timed out")
    assert street.machine.pending is None
    assert inquire(street, holds or street.card.pin) == "00"
    assert [message.mti for message in street.house.said("core") if message.mti == "0420"] == []
    street.close()


def test_a_silent_issuer_is_told_as_98_and_nothing_is_reversed() -> None:
    street = Street([{"kind": "atm_pin_change", "action": "silence_after_posting"}])
    assert change(street).response_code == "98"
    assert [row["state"] for row in street.house.of("journal")] == ["sent", "answered"]
    assert [message.mti for message in street.house.said("core") if message.mti == "0420"] == []
    assert inquire(street, NEW) == "00", "the issuer had done it"
    street.close()


def restarted(street: Street) -> Centre:
    """The core started again on its rows, with the keys of its key file."""
    house = street.house
    house.disconnect("core")
    profile = load_profile("core")
    assert isinstance(profile, NetworkProfile)
    hsm = house.centres["core"].banks[0]._hsm
    bank = Bank(house.portfolio, 0, hsm)
    fresh = Centre("core", profile, profile.header.destination, [bank], hsm, settlement_date=DAY)
    fresh.recover(house.ledgers["core"], house.pins["core"])
    house.centres["core"] = fresh
    house.connect("core")
    house.pass_time(2)
    return fresh


def test_the_new_pin_survives_a_restart_of_the_issuer_and_of_the_switch() -> None:
    street = Street()
    assert change(street).approved
    assert run(
        atm.change_pin(street.machine, street.house.line, street.card), street.house.ask,
        Pad(street, NEW, "604212", "604212"),
    ).approved  # fmt: skip
    centre = restarted(street)
    assert centre.statistics()["posts"] == len(street.house.ledgers["core"]) + 2
    assert inquire(street, NEW) == "55"
    assert inquire(street, "604212") == "00"
    street.house.restart_switch()
    street.house.pass_time(2)
    assert inquire(street, "604212") == "00"
    numbers = [row[0] for row in street.house.ledgers["core"] + street.house.pins["core"]]
    assert sorted(numbers) == list(range(1, len(numbers) + 1)), "no number of a row comes twice"
    street.close()


def test_no_block_and_no_pin_is_in_any_book() -> None:
    """The canary: what travelled, and what was typed, is in no row of switch or issuer, in no memory and no repr."""
    street = Street()
    heard: list[bytes] = []
    outcome = change(street, listening(street.house, heard))
    front, (back,) = at_the_terminal(heard), sent(street.house, "core")
    blocks = [front[52], read_new_pin(63, front[63]), read_sm_pin(back[63]), read_new_pin(63, back[63])]
    assert all(len(block) >= 8 for block in blocks)
    house = street.house
    stored = [value for _, row in house.rows for value in row]
    stored += [value for rows in (*house.ledgers.values(), *house.pins.values()) for row in rows for value in row]
    assert len(house.pins["core"]) == 1
    told = repr((stored, outcome, outcome.item, street.machine.items, house.engine.status()))
    for block in blocks:
        assert block not in stored
        assert repr(block)[2:-1] not in told
        assert block.hex() not in told
    for pin in (street.card.pin, NEW):
        assert pin not in [value for value in stored if isinstance(value, str)]
        assert f"'{pin}'" not in told
    assert set(masked(63, back[63])[-32:]) == {"*"}
    assert masked(63, front[63]) == b"NP008".hex().upper() + "*" * 16


def test_the_hsm_refers_with_the_right_keys_only() -> None:
    street = Street()
    hsm = street.house.centres["core"].banks[0]._hsm
    pan = street.card.pan
    assert "zpk/core" in hsm
    with pytest.raises(CryptoError, match="is a zak"):
        hsm.refer_to_pin("zak/core", "sm4", pan, bytes(16), PIN_REFERENCE_KEY)
    with pytest.raises(CryptoError, match="is a pvk"):
        hsm.refer_to_pin(PIN_REFERENCE_KEY, "sm4", pan, bytes(16), PIN_REFERENCE_KEY)
    with pytest.raises(PinFormatError):
        hsm.refer_to_pin("zpk/core", "sm4", pan, bytes(16), PIN_REFERENCE_KEY)
    assert change(street).approved
    (back,) = sent(street.house, "core")
    block = read_new_pin(63, back[63])
    with pytest.raises(CryptoError, match="is a zpk"):
        hsm.refer_to_pin("zpk/core", "sm4", pan, block, "zpk/core")
    assert hsm.refer_to_pin("zpk/core", "sm4", pan, block, PIN_REFERENCE_KEY) == street.house.pins["core"][0][4]


def test_the_row_says_what_it_is() -> None:
    row = BY_NAME["atm_pin_change"]
    assert (row.mti, row.processing_code, row.condition, row.network_processing_code) == (
        "0200", "700000", "02", "700000",
    )  # fmt: skip
    assert row.unverified
    assert not row.reversible
    assert row.new_pin
    assert row.moves == (0, "posted")
    assert {26, 52, 53} <= set(row.mandatory)


def test_the_network_dialect_reads_what_the_switch_sends() -> None:
    street = Street()
    assert change(street).approved
    (back,) = sent(street.house, "core")
    assert codec_of(NETWORK).decode(back.raw).fields == back.fields


# holders


class Plastic:
    pan, pin = "6212140000000001", "123456"


def ended(state: str, code: str = "") -> Outcome:
    return Outcome(atm.PIN_CHANGE, state, code)


def test_the_holder_remembers_the_new_pin_at_every_terminal() -> None:
    holders, card = Holders(), Plastic()
    here = holders.visit()
    assert here.pin(card) == "123456"
    assert here.new_pin(card, 777_905_173) == "905173"
    assert here.new_pin_again() == "905173"
    with pytest.raises(Cancelled):
        holders.visit().pin(card)  # the card is in the machine: it cannot be elsewhere
    here.end(ended("approved", "00"))
    there = holders.visit()
    assert there.pin(card) == "905173"
    assert there.new_pin(card, 905_173) == "905174", "another than the old one"
    there.end(ended("declined", "55"))
    assert holders.visit().pin(card) == "905173"
    assert "905173" not in repr((holders, here, there))


def test_nobody_changes_the_pin_of_a_card_that_is_in_use_elsewhere() -> None:
    holders, card = Holders(), Plastic()
    here, there = holders.visit(), holders.visit()
    assert here.pin(card) == there.pin(card) == "123456"
    with pytest.raises(Cancelled):
        here.new_pin(card, 905_173)
    here.end(ended("unsent"))
    assert there.pin(card) == "123456"
    there.end(None)
    assert holders.visit().pin(card) == "123456", "nothing was typed that could be in doubt"
    assert not holders.changing


@pytest.mark.parametrize("outcome", [ended("unknown"), ended("declined", "98"), ended("declined", "68"), None])
def test_a_card_whose_pin_nobody_knows_stays_in_the_pocket(outcome: Outcome | None) -> None:
    holders, card = Holders(), Plastic()
    visit = holders.visit()
    visit.pin(card)
    visit.new_pin(card, 905_173)
    visit.end(outcome)
    with pytest.raises(Cancelled):
        holders.visit().pin(card)
    assert not holders.changing
    assert not holders.using


class Crowd:
    """Machines and shops of a house on one loop: each request is on its way for a moment, while others go on."""

    def __init__(self, house: House, draw: random.Random) -> None:
        self.house, self.draw = house, draw

    async def run(self, flow: Any, holder: Any, reader: Any = None) -> Any:
        answer: Any = None
        error: FlowError | None = None
        try:
            while True:
                effect = flow.throw(error) if error else flow.send(answer)
                answer, error = None, None
                try:
                    if isinstance(effect, Ask):
                        answer = holder(effect)
                    elif isinstance(effect, Call):
                        for _ in range(self.draw.randrange(4)):
                            await asyncio.sleep(0)
                        answer = self.house.ask(effect.body)
                        for _ in range(self.draw.randrange(4)):
                            await asyncio.sleep(0)
                except FlowError as raised:
                    error = raised
        except StopIteration as end:
            return end.value


class Few:
    """Ten people, who pay everywhere."""

    def __init__(self, house: House) -> None:
        self.cards = [house.card(issuer, n) for issuer in (0, 1) for n in range(5)]

    def pick(self, draw: random.Random) -> Card:
        return draw.choice(self.cards)

    def find(self, pan: str) -> Card | None:
        return next((card for card in self.cards if card.pan == pan), None)


def test_no_wrong_pin_comes_of_changes_at_machines_and_sales_in_shops() -> None:
    """Six machines and six shops share ten cards: PINs are changed all the time, and nobody is told 55."""
    house, draw = House(6, machines=6), random.Random(7)
    answers: list[tuple[str, str]] = []

    def seen(memory: Memory, outcome: Outcome) -> None:
        answers.append((outcome.kind, outcome.response_code or outcome.reason))

    figures, people, crowd = Figures(time.monotonic), Few(house), Crowd(house, draw)
    shops = Trade(house.line, people, figures, draw, {"sale": 1}, Habits(amounts=(100, 200), with_pin=1.0), seen)
    machines = Machines(house.line, people, figures, draw, Habits(), seen, shops.holders)
    for memory in house.memories:
        (machines if isinstance(memory, atm.AtmMemory) else shops).install(memory, crowd)  # type: ignore[arg-type]

    async def work(trade: Trade, site: Site, rounds: int) -> None:
        for _ in range(rounds):
            card = people.pick(draw)
            if isinstance(site.memory, atm.AtmMemory):
                await trade.dialogue(site, atm.change_pin(site.memory, house.line, card))
            else:
                await trade.dialogue(site, pos.sale(site.memory, house.line, card, 100))

    async def day() -> None:
        await asyncio.gather(*(work(trade, site, 20) for trade in (shops, machines) for site in trade.sites))

    asyncio.run(day())
    told = Counter(answers)
    assert {code for _, code in told} == {"00", "cancelled"}, told
    assert sum(told.values()) == 240
    assert told["atm_pin_change", "00"] >= 30
    assert told["sale", "00"] >= 60
    assert len(shops.holders.pins) >= 8
    assert sum(len(rows) for rows in house.pins.values()) == told["atm_pin_change", "00"]
    assert not shops.holders.using


def test_the_usage_of_a_new_pin() -> None:
    block = bytes(range(16))
    assert write_new_pin(63, block) == b"NP016" + block
    both = write_new_pin(63, block[:8], write_sm_pin(block))
    assert read_new_pin(63, both) == block[:8]
    assert read_sm_pin(both) == block
    with pytest.raises(DecodeError, match="no usage NP"):
        read_new_pin(63, write_sm_pin(block))


def test_a_terminal_cannot_reverse_it() -> None:
    street = Street()
    heard: list[bytes] = []
    outcome = change(street, listening(street.house, heard))
    assert outcome.item is not None
    fields = reversal_fields(street.machine, street.house.line, outcome.item, "98") | {4: "0" * 12}
    reply = street.house.ask(sealed(street.machine, street.house.line, "0400", fields))
    assert reply is not None
    assert codec_of(POS).decode(reply)[39] == "12"
    assert [message.mti for message in street.house.said("core") if message.mti == "0420"] == []
    assert inquire(street, NEW) == "00"
    street.close()
