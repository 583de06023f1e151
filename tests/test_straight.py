"""The straight way and the desks: whatever comes, both ask for the same effects, byte for byte."""

import random
from typing import Any

import pytest
from chip_requests import Counter, icc_data
from engine_requests import CODEC, fields_of, item, seal, signed_in
from house import House

from switch.machine import Arm, Close, Effect, Link, Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.transactions import BY_NAME, reply_mti
from terminals.device.dialogue import request_fields
from terminals.device.memory import Memory

ROUNDS = 350
KINDS = (
    *("sale", "balance", "preauth", "atm_inquiry") * 12,
    *(name for name, row in BY_NAME.items() if not row.new_pin and not row.chip),
)
WITH_PIN = ("sale", "balance", "preauth")
NET = codec_of(NETWORK)


class Watched:
    """A house whose terminals ask what a seed says, and that counts who went straight."""

    def __init__(self, straight: bool, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gone = {"request": 0, "reply": 0}
        self.house = House(terminals=6, seed=seed)
        way = self.house.engine.straight
        if not straight:
            way.sent = lambda *given: None  # type: ignore[method-assign]
        for name in self.gone:
            monkeypatch.setattr(way, name, self._counted(name, getattr(way, name)))
        self.random = random.Random(seed)
        self.house.meddle = self._meddle
        signed_in(self.house)

    def _counted(self, name: str, real: Any) -> Any:
        def counted(*given: Any) -> bool:
            gone: bool = real(*given)
            self.gone[name] += gone
            return gone

        return counted

    def _meddle(self, name: str, send: Send) -> Send | None:
        """The other side's answers: most as they are, some lost, with another code, another RRN or a wrong MAC."""
        if name == "switch" or self.fate == "kept":
            return send
        message = NET.decode(send.body)
        if message.mti not in ("0110", "0210"):
            return send
        if self.fate == "lost":
            return None
        fields = dict(message.fields)
        if self.fate == "declined":
            fields[39] = "51"
        elif self.fate == "other":
            fields[37] = "000000000001"
        elif self.fate == "lower":
            fields[38] = "ab c. "
        counterpart = self.house.engine.office.counterparts[name]
        fields[128] = counterpart.mac(message.mti, fields) if self.fate != "forged" else "00000000"
        body = NET.encode(message.mti, fields)
        return send._replace(body=body) if self.fate != "reject" else send._replace(body=body[:-1])

    def step(self) -> None:
        """One request of a random kind, as it should be or not quite."""
        chance, house = self.random, self.house
        memory: Memory = chance.choice(house.memories)
        issuer = chance.choice((0, 1, 3))
        one = item(house, memory, chance.choice(KINDS), chance.choice((0, 1, 1000, 999_999)), issuer)
        fields = fields_of(house, memory, one)
        if one.kind in WITH_PIN and chance.random() < 0.6:
            one.entry_mode = one.entry_mode[:2] + "1"
            fields = {**request_fields(memory, house.line, one, pin=house.card(issuer).pin), 64: bytes(8)}
        fault = chance.choice(("",) * 12 + ("mac", "pin", "batch", "again", "mid", "currency", "track", "cut", "name"))
        self.fate = chance.choice(("kept",) * 6 + ("declined", "lost", "other", "forged", "lower", "reject"))
        if fault == "pin":
            fields.update({de: bytes(len(fields[de])) for de in (52, 63) if de in fields})
        elif fault == "batch":
            fields[60] = fields[60][:2] + "999999" + fields[60][8:]
        elif fault == "mid":
            fields[42] = "999290058129999"
        elif fault == "currency":
            fields[49] = "840"
        elif fault == "track":
            fields.pop(2, None)
            fields[35] = "6201000000000000859D2912201000000123"
        body = seal(house, memory, one.row.mti, fields)
        if fault == "mac":
            body = body[:-8] + b"00000000"
        elif fault == "cut":
            body = body[:-9]
        house.ask(body)
        if fault == "again":
            house.ask(body)

    fate = "kept"

    def effects(self) -> list[Any]:
        return [_comparable(effect) for who, effect in self.house.effects if who == "switch"]


def _comparable(effect: Effect) -> tuple[Any, ...]:
    def named(link: Link) -> str:
        return repr(link).replace(" closed", "")

    if isinstance(effect, Send):
        return ("send", named(effect.link), *effect[1:])
    if isinstance(effect, Close):
        return ("close", named(effect.link), effect.reason)
    return ("arm", effect.at) if isinstance(effect, Arm) else ("post", *effect)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_ways_ask_for_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, careful = (Watched(on, seed, monkeypatch) for on in (True, False))
    for turn in range(ROUNDS):
        straight.step()
        careful.step()
        assert straight.effects() == careful.effects(), f"seed {seed}, turn {turn}"
        straight.house.effects.clear()
        careful.house.effects.clear()
    assert careful.gone == {"request": 0, "reply": 0}
    assert straight.gone["request"] > 60
    assert straight.gone["reply"] > 20
    mine, theirs = (watched.house.engine.office for watched in (straight, careful))
    assert mine.statistics.as_dict() == theirs.statistics.as_dict()
    assert [repr(one) for one in mine.books.exchanges.values()] == [
        repr(one) for one in theirs.books.exchanges.values()
    ]
    assert mine.books.batches.keys() == theirs.books.batches.keys()


@pytest.mark.parametrize("suite", ["3des", "sm4"])
@pytest.mark.parametrize("seed", [1, 2])
def test_both_ways_look_at_chips_alike(seed: int, suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, careful = (Watched(on, seed, monkeypatch) for on in (True, False))
    counters = [Counter(watched.house, suite, told=False) for watched in (straight, careful)]
    chance = random.Random(seed)
    for turn in range(200):
        entry, track = chance.choice(("052", "072", "022", "802")), chance.choice(("2", "1"))
        kind, amount = chance.choice(("sale", "sale", "preauth")), chance.choice((0, 1000, 70_000))
        data: bytes | None = icc_data(amount, turn + 1)
        if entry in ("022", "802") or chance.random() < 0.1:
            data = None
        elif chance.random() < 0.1:
            data = bytes(20)
        more: dict[str, Any] = {"reader": chance.choice(("60", "62", "50", "20", "00"))}
        if data is None:
            more["de35"] = f"{counters[0].card.pan}D2912{track}01000000123"
        for counter in counters:
            counter.do(kind, amount, entry, data, **more)
        assert straight.effects() == careful.effects(), f"seed {seed}, turn {turn}"
        straight.house.effects.clear()
        careful.house.effects.clear()
    assert careful.gone == {"request": 0, "reply": 0}
    assert straight.gone["request"] > 20
    assert straight.gone["reply"] > 10


def test_a_new_key_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(True, 7, monkeypatch)
    memory = watched.house.memories[0]
    for _ in range(3):
        body = seal(
            watched.house, memory, "0200", fields_of(watched.house, memory, item(watched.house, memory, "sale"))
        )
        reply = watched.house.ask(body)
        assert reply is not None
        assert CODEC.decode(reply).fields[39] == "00"
        signed_in(watched.house)  # every key of every terminal is another one now
    assert watched.gone["request"] == 2


def test_what_was_learnt_is_forgotten_with_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(True, 7, monkeypatch)
    memory = watched.house.memories[0]

    def sale() -> str:
        body = seal(
            watched.house, memory, "0200", fields_of(watched.house, memory, item(watched.house, memory, "sale"))
        )
        reply = watched.house.ask(body)
        assert reply is not None
        message = CODEC.decode(reply)
        assert message.mti == reply_mti("0200")
        code: str = message.fields[39]
        return code

    assert [sale() for _ in range(3)] == ["00"] * 3
    assert watched.gone == {"request": 2, "reply": 1}
    watched.house.engine.straight.forget()
    assert sale() == "00"
    assert watched.gone == {"request": 2, "reply": 1}


def test_nothing_is_kept_of_a_request_that_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(True, 7, monkeypatch)
    for _ in range(20):
        watched.step()
    watched.house.pass_time(60.0)
    assert watched.gone["request"]
    for exchange in watched.house.engine.office.books.exchanges.values():
        assert (exchange.link, exchange.frame, exchange.request, exchange.asked) == (None, None, None, None)
