"""Two workers as real processes: load over both, one killed in the middle, a change of day, and the books joined."""

import asyncio
import os
import random
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtest.house import House, house
from loadtest.open.arrivals import curve
from loadtest.open.mix import read_mix
from loadtest.open.run import Order, Ready, at_rate, play
from loadtest.people import People
from switch.app.clearing import read_journal_rows, reconcile_files
from switch.app.control import ask_control
from switch.app.journals import journals_of
from switch.app.stats import tally
from switch.app.verify import verify_book
from switch.wire.profile import PosProfile, load_profile
from switch.wire.roster import owner
from terminals.cli import transport_keys
from terminals.device import pos
from terminals.device.dialogue import Line
from terminals.drive.blocking import Session
from terminals.fleet import memory_of
from terminals.own import own_terminals

TERMINALS = 24
MIX = read_mix("sale=80,sale+void=20")


def order(running: House) -> Order:
    profile = load_profile(running.directory / "profile-pos.toml")
    assert isinstance(profile, PosProfile)
    keys = transport_keys(running.directory / "transport-keys.csv")
    own = own_terminals(running.directory / "terminals.csv", keys, profile.suites)
    return Order(
        host="127.0.0.1", port=running.port, profile=profile, terminals=own, curve=curve("constant", 1.0, 1.0),
        mix=MIX, entry="stripe", seed=running.seed, cards_per_issuer=running.cards_per_issuer, think_s=0.1,
    )  # fmt: skip


def ask(running: House, do: str) -> Any:
    return ask_control(running.directory / "switch.sock", do, 20.0)


def series(running: House, name: str) -> dict[str, float]:
    """Sums of a metric by worker."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics['switch']}/metrics", timeout=10) as page:
        text = page.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels["worker"]] = found.get(sample.labels["worker"], 0) + sample.value
    return found


@pytest.mark.timeout(180)
def test_a_worker_dies_and_the_day_is_whole(tmp_path: Path) -> None:
    directory = tmp_path / "house"
    with house(directory, TERMINALS, seed=11, workers=2) as running:
        asked = order(running)
        shares = {one.tid: owner(one.mid, 2) for one in asked.terminals}
        assert set(shares.values()) == {0, 1}
        died: list[int] = []

        async def day() -> list[dict[str, Any]]:
            ready = Ready(asked)
            await ready.enter(asked)
            assert len(ready.tills) == TERMINALS
            before = await play(at_rate(asked, 30.0, 2.0), None, ready=ready)

            def kill() -> None:
                died.append(ask(running, "status")["workers"][1]["pid"])
                os.kill(died[0], signal.SIGKILL)

            asyncio.get_running_loop().call_later(1.0, kill)
            during = await play(at_rate(asked, 30.0, 6.0), None, ready=ready)
            ask_control(directory / "centre.sock", "cutover", 5.0, date="1231", window_s=0.2)
            return [before, during, await play(at_rate(asked, 30.0, 2.0), None, ready=ready)]

        figures = asyncio.run(day())
        assert all(one["approved"] > 30 for one in figures)
        assert figures[0]["failed"] == figures[2]["failed"] == 0
        assert all(one["owing"] == 0 for one in figures)

        concentrator(running, asked, shares)
        status = ask(running, "status")
        first, second = status["workers"]
        assert (first["restarts"], second["restarts"]) == (0, 1)
        assert second["pid"] != died[0]
        assert {one["counterparts"]["cups"]["settlement_date"] for one in (first, second)} == {"1231"}
        assert status["counterparts"]["cups"]["settlement_date"] == "1231"
        assert status["rows"] == first["rows"] + second["rows"]
        assert status["counterparts"]["cups"]["ready"] is True

        assert series(running, "shoudan_process_restarts_total") == {"1": 0.0, "2": 1.0}
        answered = series(running, "shoudan_authorizations_total")
        assert sum(answered.values()) == status["authorizations"]
        assert min(answered.values()) > 0
        assert "worker 1" in ask(running, "reload")
        _wait_until_nothing_is_owed(running)

    books = journals_of(directory / "switch.db")
    assert [book.name for book in books] == ["switch-1of2.db", "switch-2of2.db"]
    assert all(verify_book(book)["sound"] for book in books)
    joined = reconcile_files(directory / "switch.db", [directory / "centre.db", directory / "core.db"], None)
    assert joined.agreed, joined.breaks[:5]
    assert joined.deals > 200
    assert tally([directory / "switch.db"]).total.count == joined.deals
    rows = read_journal_rows(directory / "switch.db")
    by_worker = {row["rrn"]: shares[row["tid"]] for row in rows}
    assert {rrn[3] for rrn, place in by_worker.items() if place == 0} == {"0"}
    assert {rrn[3] for rrn, place in by_worker.items() if place == 1} == {"5"}
    keys = {(row["link"], row["net_time"], row["net_stan"]): row["rrn"] for row in rows}
    assert len(keys) == len(set(by_worker)), "two transactions under one key of a line"
    assert {shares[row["tid"]] for row in rows if int(row["net_stan"]) <= 499_999} == {0}
    assert {shares[row["tid"]] for row in rows if int(row["net_stan"]) > 499_999} == {1}


def concentrator(running: House, asked: Order, shares: dict[str, int]) -> None:
    """Terminals of all merchants on one connection: each is served by its merchant's worker."""
    line = Line(asked.profile)
    session = Session(line, "127.0.0.1", running.port)
    people = People("stripe", random.Random(3), seed=running.seed, cards_per_issuer=running.cards_per_issuer)
    served = []
    for terminal in (*asked.terminals[:6], *asked.terminals[:3]):
        memory = memory_of(terminal)
        memory.stan = 950_000 + len(served)
        assert session.run(pos.sign_in(memory, line), lambda asked: "").approved
        card, _ = people.card()
        outcome = session.run(pos.sale(memory, line, card, 1234), lambda asked, pin=card.pin: pin)
        assert outcome.response_code in ("00", "51", "55", "61"), outcome
        served.append(shares[terminal.tid])
    assert set(served) == {0, 1}
    assert session.connects == 1
    session.close()


def _wait_until_nothing_is_owed(running: House) -> None:
    end = time.monotonic() + 30
    while True:
        status = ask(running, "status")
        if status["stored"] == status["inflight"] == 0:
            return
        assert time.monotonic() < end, status
        time.sleep(0.1)
