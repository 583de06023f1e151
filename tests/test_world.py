"""The simulated world: a handful of seeds whole, the same twice, the judge's eye, stories, shrinking, the registry."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scenarios.world import mutants, rest
from scenarios.world.cli import scenario
from scenarios.world.faults import BY_NAME, ELSEWHERE, KINDS, Fault, draw_faults, kinds_of
from scenarios.world.invariants import IDS, INVARIANTS, RARE
from scenarios.world.nemesis import Nemesis
from scenarios.world.purses import judge_purses
from scenarios.world.shrink import minimal
from scenarios.world.swarm import AUTHORIZATIONS_MIN, Swarm, keep_story, read_story, swarm
from scenarios.world.world import HORIZON_S, World, play
from switch.clearing.schema import CHIPS, JOURNAL, LEDGER
from switch.machine import Link, Send
from switch.wire.codec import codec_of
from switch.wire.dialects import POS
from switch.wire.framing import Frame

STORIES = sorted((Path(__file__).parent / "stories").glob("*.json"))


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_seed_comes_to_rest_and_balances(seed: int) -> None:
    result, _ = play(seed)
    assert result.violations == []
    assert result.authorizations >= AUTHORIZATIONS_MIN
    assert result.approved > result.authorizations // 2
    assert result.events > 2000
    assert len(result.fired) >= 3


def test_without_faults_nothing_rare_happens() -> None:
    result, _ = play(5, [])
    assert result.violations == []
    assert result.fired == {}
    chips = {"an offline sale uploaded", "a script result told", "a load known to be written"}
    assert set(result.reached) <= {"a new batch opened"} | chips


def test_a_tick_comes_when_its_deadline_has_come() -> None:
    world = World(1, [])
    world.switch.start()
    world.now, deadline = 646.5901956372791, 1648.693231949985  # now + deadline - (1000 + now) is an ulp short of it
    world.switch._timer_at = 0.0
    world.switch._arm(deadline)
    world.now = world.switch._timer_at
    assert world.switch.now().mono >= deadline, "or it would be asked for again, at the same moment, for ever"


def test_a_seed_runs_the_same_twice() -> None:
    first, again = play(11)[0], play(11)[0]
    assert first == again
    fewer = play(11, first.faults[:-1])[0]
    assert fewer.digest != first.digest


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_that_once_failed_holds(path: Path) -> None:
    seed, faults = read_story(path)
    result, _ = play(seed, faults)
    assert result.violations == []


# the judge's eye: a world at rest, and one thing changed by hand


@pytest.fixture(scope="module")
def settled() -> World:
    """A world without faults, at rest."""
    world = World(3, [])
    assert world.run().violations == []
    return world


def judged(world: World) -> set[str]:
    """What the judge says of a world as it stands, with its verdict cleared before and after."""
    world.judge.violations.clear()
    moved = rest._moved(world.judge.ledger())
    rest._journal(world.judge, moved)
    rest._terminals(world, world.judge)
    rest._accounts(world, world.judge, world.judge.ledger())
    rest._loads(world.judge, world.judge.ledger())
    rest._days(world, world.judge, world.judge.ledger())
    rest._totals(world, world.judge)
    rest._kept(world, world.judge)
    rest._second_opinion(world, world.judge, world.judge.ledger())
    found = {one.invariant for one in world.judge.violations}
    world.judge.violations.clear()
    return found


def planted(world: World, host: str, table: str, where: dict[str, Any], change: dict[str, Any]) -> Any:
    """Change the first row that is so; the way back."""
    names = LEDGER.names if table == "ledger" else JOURNAL.names
    rows = world.judge.rows[host]
    for place, (kept, row) in enumerate(rows):
        of = dict(zip(names, row, strict=True)) if kept == table else {}
        if of and all(of[name] == value for name, value in where.items()):
            rows[place] = (table, tuple({**of, **change}.values()))
            return lambda: rows.__setitem__(place, (kept, row))
    raise LookupError(where)


def test_the_judge_sees_an_amount_changed_in_a_ledger(settled: World) -> None:
    back = planted(settled, "cups", "ledger", {"kind": "sale", "response_code": "00"}, {"posted_minor": 1})
    assert {"I1", "I7"} <= judged(settled)
    back()
    assert judged(settled) == set()


def test_the_judge_sees_a_ledger_row_gone(settled: World) -> None:
    rows = settled.judge.rows["core"]
    gone = next(row for row in rows if row[1][LEDGER.names.index("posted_minor")] > 0)
    place = rows.index(gone)
    del rows[place]
    assert {"I1", "I7"} <= judged(settled)
    rows.insert(place, gone)
    assert judged(settled) == set()


def test_the_judge_sees_another_day(settled: World) -> None:
    back = planted(settled, "cups", "ledger", {"kind": "sale", "response_code": "00"}, {"settlement_date": "0101"})
    assert "I9" in judged(settled)
    back()


def test_the_judge_sees_a_terminal_that_differs(settled: World) -> None:
    memory = next(d.memory for d in settled.devices if any(i.kind == "sale" and i.counts for i in d.memory.closed))
    item = next(i for i in memory.closed if i.kind == "sale" and i.counts and not i.undone)
    item.amount_minor += 1
    assert "I8" in judged(settled)
    item.amount_minor -= 1
    item.state = "declined"
    assert "I6" in judged(settled)
    item.state = "approved"
    item.stan = "999990"
    assert {"I5", "I6"} <= judged(settled)


def test_the_judge_sees_a_card_number_in_clear(settled: World) -> None:
    data = settled.switch.platter.data
    clear = settled.ground.portfolio.card(1, 0).pan.encode()
    data += clear
    assert "I31" in judged(settled)
    del data[-len(clear) :]


def test_the_judge_sees_rows_that_tell_no_story(settled: World) -> None:
    verdict = settled.judge
    row = next(row for table, row in verdict.rows["switch"] if table == "journal" and row[2] == "answered")
    verdict.durable(settled.switch, [("journal", row)])
    assert {one.invariant for one in verdict.violations} == {"I25", "I3"}
    verdict.rows["switch"].pop()
    verdict.violations.clear()


def purses_judged(world: World) -> set[str]:
    """What the judge of chips says of a world as it stands."""
    world.judge.violations.clear()
    judge_purses(world, world.judge)
    found = {one.invariant for one in world.judge.violations}
    world.judge.violations.clear()
    return found


def chip_row(world: World, event: str) -> tuple[list[Any], int, dict[str, Any]]:
    """A counterpart's rows, the place of the last chip row of this event, and that row."""
    for name in ("cups", "core"):
        rows = world.judge.rows[name]
        places = [
            n
            for n, (table, row) in enumerate(rows)
            if table == CHIPS.name and dict(zip(CHIPS.names, row, strict=True))["event"] == event
        ]
        if places:
            return rows, places[-1], dict(zip(CHIPS.names, rows[places[-1]][1], strict=True))
    raise LookupError(event)


def test_the_judge_sees_a_card_that_holds_another_balance(settled: World) -> None:
    assert purses_judged(settled) == set()
    slot = next(slot for slot, card in settled.pockets.hands._slots.values() if card.e_cash_max_minor)
    wallet = settled.pockets.hands._wallet
    state = wallet.take(slot)
    assert state is not None
    state.balance += 1
    wallet.put(slot, state)
    assert purses_judged(settled) == {"I7b"}
    state.balance -= 1
    wallet.put(slot, state)
    assert purses_judged(settled) == set()


def test_the_judge_sees_a_counter_that_paid_twice_and_one_that_went_back(settled: World) -> None:
    for event in ("offline", "online"):
        rows, place, row = chip_row(settled, event)
        rows.append((CHIPS.name, tuple({**row, "amount": 0}.values())))
        assert "I37" in purses_judged(settled)
        rows.pop()
        assert rows[place][1] == tuple(row.values())
    assert purses_judged(settled) == set()


def test_the_judge_sees_a_purse_of_which_ledger_and_chip_differ(settled: World) -> None:
    _, _, row = chip_row(settled, "offline")
    portfolio = settled.ground.portfolio
    pans = [holding.pan for holding in settled.pockets.hands.holdings()]
    card = next(card for card in map(portfolio.find, pans) if card and portfolio.reference(card.pan) == row["card_ref"])
    banks = [bank for host in settled.centres.values() for bank in host.machine.banks]
    account = next(bank for bank in banks if bank.issuer is card.issuer).purse(card)
    account.available_minor += 1
    assert purses_judged(settled) == {"I7b"}
    account.available_minor -= 1
    assert purses_judged(settled) == set()


def test_the_judge_knows_a_connection_from_the_one_before_it_in_its_place(settled: World) -> None:
    host, verdict, link = settled.switch, settled.judge, Link(9_999)
    fields = {11: "000001", 12: "101500", 13: "1028", 39: "00", 41: "10000001", 60: "00000001001"}
    asked = Frame(b"", b"", codec_of(POS).encode("0820", {11: "000001", 41: "10000001", 42: "1" * 15, 60: fields[60]}))
    answer = Send(link, codec_of(POS).encode("0830", fields))
    verdict.violations.clear()
    verdict.connected(host, link)
    verdict.heard(host, link, asked)
    verdict.left(host, answer)
    assert verdict.violations == []
    verdict.left(host, answer)
    assert [one.invariant for one in verdict.violations] == ["I14"], "said twice"
    verdict.connected(host, link)
    verdict.left(host, answer)
    assert [one.invariant for one in verdict.violations] == ["I14", "I11"], "somebody else's"
    verdict.violations.clear()


# mutants, stories, shrinking, the registry


@pytest.mark.parametrize("name", ["M1", "M14", "C2"])
def test_a_mutant_is_caught(name: str) -> None:
    mutant = next(one for one in mutants.MUTANTS if one.name == name)
    real = mutant.owner.__dict__[mutant.attribute]
    caught = mutants.catch(mutant, 6)
    assert caught.seed > 0
    assert caught.invariant in IDS
    assert mutant.owner.__dict__[mutant.attribute] is real, "the mutant is dead again"


def test_every_mutant_replaces_something_that_is_there() -> None:
    names = [one.name for one in mutants.MUTANTS]
    assert names[:14] == [f"M{n}" for n in range(1, 15)]
    assert len(names) == len(set(names)) >= 20
    for one in mutants.MUTANTS:
        real = one.owner.__dict__[one.attribute]
        with one.alive():
            assert one.owner.__dict__[one.attribute] is not real
        assert one.owner.__dict__[one.attribute] is real


def test_the_table_of_mutants_goes_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- mutants -->\nold\n<!-- end mutants -->\nafter\n", encoding="utf-8")
    caught = [mutants.Caught("M1", "early", 7, "I4", "RRN 1", 7), mutants.Caught("X", "none", 0, "", "", 9)]
    mutants.write_table(page, caught)
    text = page.read_text(encoding="utf-8")
    assert "| M1 | early | 7 | I4 |\n| X | none | none of 9 | - |" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text


def test_shrinking_keeps_what_is_needed() -> None:
    faults = draw_faults(World(1, []).draws["fault"], HORIZON_S, 11, 2)
    wanted = {faults[2].at, faults[-1].at}
    fewest = minimal(faults, lambda some: wanted <= {fault.at for fault in some})
    assert {fault.at for fault in fewest} == wanted
    assert len(fewest) == 2


def test_a_story_is_read_as_it_was_kept(tmp_path: Path) -> None:
    faults = [Fault("kill", 30.5, "switch", 2.0), Fault("cancel", 40.0, "terminal", n=3)]
    path = keep_story(tmp_path, 77, faults, "I1", "a note")
    assert read_story(path) == (77, faults)
    assert json.loads(path.read_text())["broken"] == "I1"


def test_every_kind_of_fault_can_be_made_to_happen() -> None:
    assert all(hasattr(Nemesis, f"on_{kind.name}") for kind in KINDS)
    made = {name.removeprefix("on_") for name in dir(Nemesis) if name.startswith("on_")}
    assert made == set(BY_NAME)
    covered = {number for kind in KINDS for number in kind.numbers} | set(ELSEWHERE)
    assert covered == set(range(1, 66)), "every fault of the matrix has its place, or is named as open"
    assert len({one.name for one in INVARIANTS}) == len(INVARIANTS)
    assert len(RARE) == len(set(RARE))


def test_a_seed_draws_some_kinds_of_fault() -> None:
    lists = [World(seed, None).faults for seed in range(40)]
    counts = [len(kinds_of(faults)) for faults in lists]
    assert min(counts) >= 4
    assert len(set(counts)) > 3
    assert all(list(faults) == sorted(faults, key=lambda fault: (fault.at, fault.kind)) for faults in lists)


def test_a_swarm_adds_up() -> None:
    found = swarm(range(1, 3), 1)
    data = found.as_dict()
    assert (data["seeds"], data["violations"], data["failed_seeds"]) == (2, 0, [])
    assert data["authorizations"] >= data["authorizations_fewest"] * 2 >= 2 * AUTHORIZATIONS_MIN
    assert data["events"] > 2 * 3000
    assert set(data["fired"]) <= set(BY_NAME)
    assert set(data["reached"]) <= set(RARE)
    assert found.good
    assert not found.enough
    assert not Swarm(seeds=500).good, "so many seeds must have reached everything"


def test_the_command_plays_one_seed_and_a_story(tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(scenario, ["swarm", "--seed", "2", "--trace"])
    assert done.exit_code == 0
    assert "switch hears 0200" in done.output
    assert "digest" in done.output
    path = keep_story(tmp_path, 2, [Fault("kill", 60.0, "switch", 1.0)], "I1")
    done = runner.invoke(scenario, ["swarm", "--story", str(path)])
    assert done.exit_code == 0
    assert "kill switch for 1 s" in done.output
    out = tmp_path / "figures.json"
    done = runner.invoke(scenario, ["swarm", "--seeds", "1", "--first", "5", "--processes", "1", "--json", str(out)])
    assert done.exit_code == 0
    assert json.loads(out.read_text())["seeds"] == 1
