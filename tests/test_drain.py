"""A real switch that is told to stop ends what it has begun, refuses what is new, and comes back from its journal."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scenarios.drill.judge import journal_rules, judge
from scenarios.drill.yard import SWITCH, Crew, Wanted, Yard, make
from switch.app.control import ask_control
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.profile import PosProfile, load_profile
from terminals.device import pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import export
from terminals.drive.blocking import Session
from terminals.fleet import memory_of
from terminals.own import own_terminals, read_transport_keys

DELAY_S = 1.0
DRAIN_S = 10.0


class Shop:
    """Terminals before a real switch whose other side takes its time for sales."""

    def __init__(self, yard: Yard) -> None:
        profile = load_profile(str(yard.profile))
        assert isinstance(profile, PosProfile)
        self.yard, self.crew, self.line = yard, Crew(yard), Line(profile)
        portfolio = Portfolio(yard.seed, STANDARD_ISSUERS, yard.cards_per_issuer)
        self.card = next(c for n in range(99) if (c := portfolio.card(1, n)).status == "normal" and c.expiry > "2612")
        keys = read_transport_keys(yard.transport_keys)
        self.memories = [memory_of(one) for one in own_terminals(yard.terminals, keys, profile.suites)]
        self.sessions = [Session(self.line, yard.host, yard.port) for _ in self.memories]

    def start(self) -> None:
        self.crew.start_switch()
        self.crew.await_port(SWITCH, self.yard.host, self.yard.port)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                if all(line["ready"] for line in self.status()["counterparts"].values()):
                    return
            time.sleep(0.02)
        raise AssertionError("no lines")

    def status(self) -> dict[str, Any]:
        return dict(ask_control(self.yard.control(SWITCH), "status"))

    def sign_in(self, n: int) -> Outcome:
        return self.sessions[n].run(pos.sign_in(self.memories[n], self.line), lambda asked: "")

    def sell(self, n: int, amount: int) -> Outcome:
        flow = pos.sale(self.memories[n], self.line, self.card, amount, pin=False)
        return self.sessions[n].run(flow, lambda asked: "")

    def selling(self, n: int, amount: int, told: dict[int, Outcome]) -> threading.Thread:
        thread = threading.Thread(target=lambda: told.__setitem__(n, self.sell(n, amount)))
        thread.start()
        return thread

    def books_agree(self) -> None:
        export(self.memories, self.yard.terminal_book)
        verdict = judge(self.yard.journal, self.yard.ledgers, self.yard.terminal_book)
        assert (verdict.lost, verdict.doubled, verdict.clean) == (0, 0, True)
        assert self.yard.journal is not None
        assert journal_rules(self.yard.journal) == []


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    yard = make(Wanted(directory=tmp_path / "yard", terminals=4))
    for one in yard.counters:
        with (yard.directory / f"{one.name}.toml").open("a") as file:
            file.write(f'\n[[rules]]\naction = "delay"\nkind = "sale"\ndelay_s = {DELAY_S}\n')
    shop = Shop(yard)
    try:
        for one in yard.counters:
            shop.crew.start_counter(one)
        for one in yard.counters:
            shop.crew.await_port(one.name, "127.0.0.1", one.port)
        shop.start()
        assert all(shop.sign_in(n).approved for n in range(len(shop.memories)))
        yield shop
    finally:
        for session in shop.sessions:
            session.close()
        shop.crew.stop()


def test_sigterm_drains(shop: Shop) -> None:
    told: dict[int, Outcome] = {}
    threads = [shop.selling(n, 1000 + n, told) for n in range(3)]
    while shop.status()["inflight"] < 3:
        time.sleep(0.01)
    began = time.monotonic()
    shop.crew.end(SWITCH)
    while True:  # until it listens no more
        try:
            socket.create_connection((shop.yard.host, shop.yard.port), 1.0).close()
        except OSError:
            break
        assert time.monotonic() - began < DELAY_S
        time.sleep(0.01)
    refused = shop.sell(3, 5000)
    assert (refused.state, refused.response_code) == ("declined", "96"), "nothing new over a connection that stands"
    for thread in threads:
        thread.join(timeout=20)
    assert shop.crew.wait(SWITCH, DRAIN_S) == 0
    assert {n: (one.state, one.response_code) for n, one in told.items()} == dict.fromkeys(range(3), ("approved", "00"))
    assert time.monotonic() - began < DRAIN_S, "it waits for answers, not for its time to be up"
    shop.start()
    assert shop.sell(3, 700).approved
    shop.books_agree()


def test_restarts_in_a_row(shop: Shop) -> None:
    """Told to stop, killed at rest, killed with a sale under way, killed while it recovers."""
    for amount, hard in ((1000, False), (1001, True), (1002, True), (1003, False)):
        assert shop.sell(0, amount).approved, "the keys of the sign-in are in the journal"
        rows = shop.status()["rows"]
        assert rows
        if hard:
            told: dict[int, Outcome] = {}
            thread = shop.selling(1, amount + 50, told)
            while not shop.status()["inflight"]:
                time.sleep(0.01)
            shop.crew.kill(SWITCH)
            thread.join(timeout=60)
            assert told[1].state == "unknown"
            shop.crew.start_switch()  # and once more, wherever it has come to
            time.sleep(0.2)
            shop.crew.kill(SWITCH)
        else:
            shop.crew.end(SWITCH)
            assert shop.crew.wait(SWITCH, DRAIN_S) == 0
        shop.start()
        assert shop.status()["signed_in"] == 4
    assert shop.sell(1, 3000).approved, "what it owed is paid first"
    end = time.monotonic() + 20
    while (shop.status()["stored"] or shop.status()["inflight"]) and time.monotonic() < end:
        time.sleep(0.05)
    shop.books_agree()
