"""The simulated network: bytes in order, in pieces, late, or lost with their connection; never in silence."""

import heapq
import random
from collections.abc import Callable
from typing import Any

from scenarios.world.network import Road, Wire


class Clock:
    """A clock and what is due on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, when: float, what: str, act: Callable[..., None], *given: Any) -> None:
        heapq.heappush(self.due, (when, len(self.due) + int(self.now * 1e6), act, given))

    def run(self, until: float = 1e9) -> None:
        while self.due and self.due[0][0] <= until:
            self.now, _, act, given = heapq.heappop(self.due)
            act(*given)
        self.now = max(self.now, until) if until < 1e9 else self.now


def wire(**weather: Any) -> tuple[Clock, Road, Wire, list[bytes], list[str]]:
    clock, road = Clock(), Road("road", 0.05)
    for name, value in weather.items():
        setattr(road, name, value)
    one = Wire(clock, road, random.Random(1))
    heard: list[bytes] = []
    lost: list[str] = []
    one.ends[1].heard = heard.append
    one.ends[1].lost = lambda: lost.append("server")
    one.ends[0].lost = lambda: lost.append("client")
    return clock, road, one, heard, lost


def test_bytes_arrive_in_order_whatever_the_weather() -> None:
    sent = [bytes([n]) * (n + 1) for n in range(60)]
    for weather in ({}, {"slice": 1}, {"jitter": 5.0}, {"pace": 100.0}, {"slice": 3, "jitter": 2.0}):
        clock, _, one, heard, lost = wire(**weather)
        for data in sent:
            one.ends[0].send(data)
        clock.run()
        assert b"".join(heard) == b"".join(sent)
        assert (len(heard) > len(sent)) == ("slice" in weather)
        assert lost == []


def test_a_direction_held_keeps_its_order_and_then_lets_everything_through() -> None:
    clock, road, one, heard, _ = wire()
    one.ends[0].send(b"before")
    clock.run(1.0)
    road.held[0] = 10.0
    one.ends[0].send(b"1")
    clock.run(5.0)
    one.ends[0].send(b"2")
    clock.run(9.9)
    assert heard == [b"before"]
    one.ends[0].send(b"3")
    clock.run()
    assert heard == [b"before", b"1", b"2", b"3"]
    assert clock.now >= 10.0


def test_a_reset_loses_what_is_on_its_way_and_tells_both() -> None:
    clock, road, one, heard, lost = wire()
    one.ends[0].send(b"lost")
    one.reset()
    one.ends[0].send(b"never")
    clock.run()
    assert heard == []
    assert lost == ["client", "server"]
    assert road.wires == []


def test_closing_lets_what_was_sent_arrive() -> None:
    clock, road, one, heard, lost = wire()
    one.ends[0].send(b"last words")
    one.ends[0].close()
    clock.run()
    assert heard == [b"last words"]
    assert lost == ["server"]
    assert road.wires == []


def test_who_vanishes_tells_nobody() -> None:
    clock, road, one, heard, lost = wire()
    one.ends[0].vanish()
    one.ends[1].send(b"to nobody")
    clock.run()
    assert (heard, lost) == ([], [])
    assert road.wires == [one], "the other side still holds it"
    one.reset()
    assert lost == ["server"]


def test_only_a_hostile_peer_says_things_twice() -> None:
    clock, road, one, heard, _ = wire()
    road.hostile = lambda data, direction: [data, data]
    one.ends[0].send(b"x")
    clock.run()
    assert heard == [b"x", b"x"]
