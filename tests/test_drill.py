"""Drills: their judge, their figures, what terminals keep, the bad disk; and small ones with real processes."""

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest
from hand_in_book import changed, columns, do
from house import House

from scenarios.drill.answers import Answer, Answers, Window, availability, parse, quantile, recovery
from scenarios.drill.canary import canaries, luhn, needles, report, scan
from scenarios.drill.hostile import stranger
from scenarios.drill.judge import journal_rules, two_books
from scenarios.drill.keep import Keeper, kept
from scenarios.drill.lines import TROUBLES
from scenarios.drill.yard import DrillFailed, Wanted, make
from scenarios.proxy.control import check
from switch.app.config import ConfigError
from switch.clearing.schema import JOURNAL
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.codec import codec_of
from switch.wire.dialects import POS
from terminals.device import atm, pos
from terminals.device.atm import AtmMemory
from terminals.drive.pump import pump
from terminals.fleet import memory_of
from terminals.flow import Ask, Call, FlowEffect, TimedOut

PORTFOLIO = Portfolio(7, STANDARD_ISSUERS, 20_000)


# answers, windows


def answer(start: float, end: float, state: str = "approved", code: str = "00", kind: str = "sale") -> Answer:
    return Answer(start, end, kind, state, code, True)


def test_an_answer_survives_its_file(tmp_path: Path) -> None:
    log = tmp_path / "answers.log"
    answers = Answers(log)
    assert answers.more() == []
    first, second = answer(1.25, 1.5), Answer(2.0, 2.5, "refund", "unsent", "", None)
    log.write_text(first.line() + second.line() + first.line()[:-9])
    assert answers.more() == [first, second]
    log.write_text(first.line() + second.line() + first.line())
    assert answers.more() == [first]
    assert parse("1 2 sale approved 00\n") is None
    assert parse("x 2 sale approved 00 1\n") is None


@pytest.mark.parametrize(
    ("state", "code", "good"),
    [
        ("approved", "00", True), ("declined", "51", True), ("declined", "91", False), ("declined", "98", False),
        ("declined", "96", False), ("unknown", "", False), ("unsent", "", False),
    ],
)  # fmt: skip
def test_what_counts_as_an_answer(state: str, code: str, good: bool) -> None:
    assert answer(0, 1, state, code).good is good


def test_only_what_others_decided_proves_a_line() -> None:
    assert answer(0, 1).came_from(own=True)
    assert not answer(0, 1).came_from(own=False)
    assert not answer(0, 1, "declined", "14").came_from(own=True)
    assert not answer(0, 1, kind="refund").came_from(own=True)  # stored for the other side while it is away


def test_availability_inside_and_outside_windows() -> None:
    windows = [Window("switch", 10.0, 10.5, 12.0, 11.0), Window("core", 20.0, 20.1, None, None)]
    answers = [
        answer(1, 2), answer(9, 10.5, "unknown", ""), answer(11, 11.5, "unsent", ""), answer(13, 14),
        answer(15, 16, "declined", "91"), answer(30, 31, "declined", "91"), answer(0, 1, kind="echo"),
    ]  # fmt: skip
    found = availability(answers, windows)
    assert found["asked"] == 6
    assert found["availability"] == round(2 / 6, 6)
    assert found["asked_outside_windows"] == 3
    assert found["availability_outside_windows"] == round(2 / 3, 6)
    assert found["failed_outside_windows"] == {"declined 91": 1}
    assert recovery(windows) == {"downtime_s": 2.0, "recovery_s": {"p50": 0.5, "p99": 0.5}, "unrecovered": 1}
    assert quantile([], 0.5) == 0.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0


# the judge


SHORT = "approved at the terminal, not moved"


def terminal_row(rrn: str, amount: int = 1000, **changed: Any) -> dict[str, Any]:
    return {
        "mid": "M", "tid": "T", "batch": "000001", "stan": rrn[-6:], "kind": "sale", "amount": amount, "rrn": rrn,
        "state": "approved", "reversal": "none", **changed,
    }  # fmt: skip


def ledger_row(rrn: str, posted: int = 1000, stan: str = "", **changed: Any) -> dict[str, Any]:
    return {
        "mti": "0200", "net_time": "0101000000", "net_stan": stan or rrn[-6:], "acquirer": "A", "forwarder": "F",
        "link": "cups", "effect": "debit", "posted_minor": posted, "held_minor": 0, "response_code": "00", "mid": "M",
        "tid": "T", "rrn": rrn, "kind": "sale", "original_time": "", "original_stan": "", **changed,
    }  # fmt: skip


def reversal_row(rrn: str) -> dict[str, Any]:
    return ledger_row(rrn, -1000, "900000", mti="0420", original_time="0101000000", original_stan=rrn[-6:])


def test_books_that_agree() -> None:
    rows = [terminal_row("000000000001"), terminal_row("000000000002", state="declined")]
    rows.append(terminal_row("000000000003", reversal="done"))
    ledger = [ledger_row("000000000001"), ledger_row("000000000003"), reversal_row("000000000003")]
    verdict = two_books(rows, ledger)
    assert verdict.clean
    assert verdict.transactions == 3


@pytest.mark.parametrize(
    ("rows", "ledger", "lost", "doubled", "cause"),
    [
        ([terminal_row("000000000001")], [], 1, 0, SHORT),
        ([terminal_row("000000000001")], [ledger_row("000000000001", 400)], 1, 0, SHORT),
        (
            [terminal_row("000000000001")],
            [ledger_row("000000000001"), ledger_row("000000000001", stan="000777")], 0, 1, "moved more than once",
        ),
        (
            [terminal_row("000000000001", reversal="done")], [ledger_row("000000000001")], 0, 1,
            "moved, and not approved at the terminal",
        ),
        ([], [ledger_row("000000000001")], 0, 1, "moved, and no terminal knows of it"),
        (
            [terminal_row("000000000001")], [ledger_row("000000000001"), reversal_row("000000000001")], 1, 0,
            SHORT,
        ),
    ],
)  # fmt: skip
def test_books_that_differ(rows: list[Any], ledger: list[Any], lost: int, doubled: int, cause: str) -> None:
    verdict = two_books(rows, ledger)
    assert (verdict.lost, verdict.doubled) == (lost, doubled)
    assert verdict.causes == {cause: 1}
    assert not verdict.clean


def deposit_row(rrn: str, stan: str, kind: str = "atm_deposit", **changed: Any) -> dict[str, Any]:
    return terminal_row(rrn, kind=kind, stan=stan, original_batch="", original_stan="", **changed)


def test_a_deposit_that_was_confirmed_is_booked_once() -> None:
    """The machine never heard the number of the request that its confirmation stands for."""
    rows = [
        deposit_row("", "000001", state="unknown"),
        deposit_row("000000000009", "000002", "atm_deposit_confirm") | {
            "original_batch": "000001", "original_stan": "000001"
        },
    ]  # fmt: skip
    first = ledger_row("000000000005", -1000, kind="atm_deposit")
    again = ledger_row("000000000009", -1000, kind="atm_deposit_confirm")
    assert two_books(rows, [first]).clean
    assert two_books(rows, [again]).clean
    taken_note_of = again | {"posted_minor": 0}
    assert two_books(rows, [first, taken_note_of]).clean
    heard = [rows[0] | {"rrn": "000000000005"}, rows[1]]  # with its 98
    assert two_books(heard, [first, taken_note_of]).clean
    assert (two_books(rows, []).doubled, two_books(rows, [first, again]).lost) == (1, 1)


def test_a_machine_keeps_its_notes(tmp_path: Path) -> None:
    house = House(terminals=0, machines=2)
    machine = house.memories[0]
    assert isinstance(machine, AtmMemory)
    machine.vault.load({10_000: 50})
    keeper = Keeper(tmp_path)
    assert house.run(pos.sign_in(machine, house.line)).approved

    def again() -> AtmMemory:
        memory = memory_of(house.fleet[0])
        assert isinstance(memory, AtmMemory)
        assert keeper.load(memory)
        memory.wake()
        return memory

    moved: list[tuple[str, int, int, int]] = []

    def perform(effect: FlowEffect) -> Any:
        there = again()
        out = sum(line.notes for line in there.vault.book if line.event == "dispensed")
        open_ = sum(record.state == "open" for record in there.errors)
        moved.append((type(effect).__name__, sum(there.vault.stock().values()), out, open_))
        if isinstance(effect, Ask):
            return {"pin": house.card(1).pin, "cash": 5, "card": True}[effect.what]
        return house.ask(effect.body) if isinstance(effect, Call) else None

    flow = atm.withdraw(machine, house.line, house.card(1), 50_000)
    assert pump(kept(flow, lambda: keeper.save(machine), always=True), perform).approved
    assert moved == [
        ("Ask", 50, 0, 0), ("Call", 50, 0, 0), ("Wait", 50, 0, 1), ("Ask", 45, 0, 1), ("Ask", 45, 5, 0),
    ], "whenever its power is cut, notes and book are of one moment"  # fmt: skip
    done = again()
    assert [(line.event, line.notes) for line in done.vault.book] == [("loaded", 50), ("dispensed", 5)]
    assert done.vault.count(done.errors).agrees


# canaries


def encodings(pan: str) -> dict[str, bytes]:
    odd = len(pan) % 2
    return {
        "text": b"track " + pan.encode() + b"=",
        "packed": b"\x02" + bytes.fromhex(pan + "F" * odd),
        "packed, shifted": b"\x02" + bytes.fromhex("9" + pan + "F" * (1 - odd)),
        "hexadecimal": pan.encode().hex().encode(),
        "UTF-16 LE": pan.encode("utf-16-le"),
        "UTF-16 BE": pan.encode("utf-16-be"),
    }


@pytest.mark.parametrize("issuer", range(len(STANDARD_ISSUERS)))
@pytest.mark.parametrize("serial", [0, 1, 19_999])
def test_a_card_number_is_seen_in_every_encoding(tmp_path: Path, issuer: int, serial: int) -> None:
    pan = PORTFOLIO.card(issuer, serial).pan
    assert luhn(pan)
    (tmp_path / "empty").touch()
    for name, data in encodings(pan).items():
        (tmp_path / "file").write_bytes(bytes(range(256)) + data)
        seen = list(scan([tmp_path], canaries()))
        assert name in {one.encoding for one in seen}, name
        assert all(pan[:10] not in str(one) for one in seen)
    for before in (b"", b"x", b"xy"):
        (tmp_path / "file").write_bytes(base64.b64encode(before + pan.encode() + b"-"))
        assert {one.encoding for one in scan([tmp_path], canaries())} == {"base64"}


def test_what_is_no_card_number_is_not_seen(tmp_path: Path) -> None:
    pan = PORTFOLIO.card(2, 1).pan
    (tmp_path / "masked").write_text(pan[:6] + "*" * 6 + pan[-4:])
    (tmp_path / "page").write_bytes(
        bytes.fromhex(pan[:10]) + b"\x2e\x86\x1e\x00"
    )  # five packed bytes of a database page
    (tmp_path / "sealed").write_bytes(os.urandom(200_000))
    found = report(tmp_path)
    assert (found["files"], found["sightings"]) == (3, 0)
    assert {needle.encoding for needle in needles("6288000000")} == {
        "text", "packed", "packed, shifted", "hexadecimal", "UTF-16 LE", "UTF-16 BE", "base64",
    }  # fmt: skip


# what terminals keep


def test_a_memory_survives_its_process(tmp_path: Path) -> None:
    house = House(terminals=2)
    memory, other = house.memories
    assert house.run(pos.sign_in(memory, house.line)).approved
    keeper = Keeper(tmp_path)
    sale = house.run(kept(pos.sale(memory, house.line, house.card(0), 1200), lambda: keeper.save(memory)))
    assert sale.approved
    again = memory_of(house.fleet[0])
    assert Keeper(tmp_path).load(again)
    assert (again.batch, again.stan, again.signed_in) == (memory.batch, memory.stan, False)
    assert [(one.stan, one.rrn, one.state) for one in again.items] == [(sale.stan, sale.rrn, "approved")]
    assert not Keeper(tmp_path).load(memory_of(house.fleet[1]))
    assert other.items == []
    assert report(tmp_path)["sightings"] == 0


def test_the_debt_is_written_before_the_message_leaves(tmp_path: Path) -> None:
    house = House(terminals=1)
    [memory] = house.memories
    assert house.run(pos.sign_in(memory, house.line)).approved
    keeper = Keeper(tmp_path)
    flow = kept(pos.sale(memory, house.line, house.card(0), 1200, pin=False), lambda: keeper.save(memory))
    assert isinstance(next(flow), Call)
    again = memory_of(house.fleet[0])
    assert keeper.load(again)
    assert again.pending is not None
    assert again.pending.item is again.items[0]
    with pytest.raises(StopIteration) as end:
        flow.throw(TimedOut())
    assert end.value.value.state == "unknown"


# the bad disk

_WRITER = """
import sys, apsw
from scenarios.drill.bad_disk import Layer, Ruin
layer = Layer(Ruin(sys.argv[1], int(sys.argv[2])))
book = apsw.Connection(sys.argv[3])
for line in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE IF NOT EXISTS t (n)"):
    book.execute(line)
for n in range(200):
    try:
        book.execute("INSERT INTO t VALUES (?)", (n,))
    except apsw.Error as error:
        print("failed at", n, type(error).__name__, flush=True)
        break
    print(n, flush=True)
"""


def written(how: str, nth: int, path: Path) -> tuple[int, list[str], list[int]]:
    """Exit code, what the writer was told is stored, and what is."""
    run = subprocess.run([sys.executable, "-c", _WRITER, how, str(nth), str(path)], capture_output=True, text=True,
                         timeout=30, check=False)  # fmt: skip
    stored = [row[0] for row in apsw.Connection(str(path)).execute("SELECT n FROM t")]
    return run.returncode, run.stdout.split("\n")[:-1], stored


def test_a_sync_that_fails_is_an_error_and_what_was_told_is_there(tmp_path: Path) -> None:
    code, told, stored = written("fail", 30, tmp_path / "book.db")
    assert code == 0
    assert told[-1].endswith("IOError")
    assert [str(n) for n in stored][: len(told) - 1] == told[:-1]
    assert len(told) > 10


def test_a_sync_that_is_forgotten_loses_what_was_told(tmp_path: Path) -> None:
    code, told, stored = written("forget", 30, tmp_path / "book.db")
    assert code == -signal.SIGKILL
    assert 0 < len(stored) < len(told)


# what drills are told


def test_every_trouble_is_one_the_proxy_knows() -> None:
    for trouble in TROUBLES:
        for command in trouble.commands:
            check(command)


def test_a_stranger_is_a_whole_message_of_nobody() -> None:
    message = codec_of(POS).decode(stranger()[13:])
    assert (message.mti, message.fields[41]) == ("0820", "99999999")


def test_a_directory_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DrillFailed, match="is not empty"):
        make(Wanted(directory=tmp_path))
    assert (tmp_path / "letter.txt").exists()
    with pytest.raises(ConfigError, match="--ground"):
        make(Wanted(directory=tmp_path / "new", host="127.0.0.1:1"))


# small drills with real processes


def shoudan(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "switch.app.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=100, check=False)


def test_kill_a_switch_that_is_not_ours(tmp_path: Path) -> None:
    ground = tmp_path / "ground"
    assert shoudan("sandwich", "--prepare", str(ground), "--count", "12").returncode == 0
    command = f"{sys.executable} -m switch.app.cli serve {ground / 'own-switch' / 'switch.toml'}"
    run = shoudan(
        "drill", "kill", "--rounds", "2", "--rate", "30", "--pause", "0.4", "--ground", str(ground), "--command",
        command, "--dir", str(tmp_path / "drill"), "--seed", "3", "--json", "-",
    )  # fmt: skip
    data = json.loads(run.stdout)
    assert (data["rounds"], data["lost"], data["doubled"], data["unrecovered"]) == (2, 0, 0, 0), run.stderr
    assert data["at_rest"]
    assert data["books"]["transactions"] > 10
    assert data["canary"]["sightings"] == 0
    assert 0 < data["recovery_s"]["p50"] <= data["recovery_s"]["p99"] < 20
    assert data["downtime_s"] > 0
    assert data["asked"] > data["asked_outside_windows"] >= 0
    assert sum(one["rounds"] for one in data["by_fault"].values()) == 2
    assert run.returncode == (0 if data["passed"] else 1)
    assert not list((tmp_path / "drill").glob("switch.db"))


def test_processes_that_stand_still_and_go_on(tmp_path: Path) -> None:
    run = shoudan(
        "drill", "kill", "--stop", "1.5", "--rounds", "3", "--terminals", "12", "--rate", "30", "--pause", "0.4",
        "--dir", str(tmp_path / "drill"), "--seed", "4", "--json", "-",
    )  # fmt: skip
    data = json.loads(run.stdout)
    assert (data["rounds"], data["lost"], data["doubled"], data["unrecovered"]) == (3, 0, 0, 0), run.stderr
    assert data["at_rest"]
    assert data["downtime_s"] >= 3 * 1.5
    log = (tmp_path / "drill" / "drill.log").read_text()
    assert (log.count(" stop "), log.count(" continue "), log.count(" kill ")) == (3, 3, 0)
    assert journal_rules(tmp_path / "drill" / "switch.db") == []


def test_a_disk_that_is_full_one_whose_sync_fails_and_one_that_forgets(tmp_path: Path) -> None:
    run = shoudan(
        "drill", "disk", "--rounds", "3", "--terminals", "12", "--rate", "30", "--pause", "0.4", "--dir",
        str(tmp_path / "drill"), "--json", "-",
    )  # fmt: skip
    data = json.loads(run.stdout)
    assert data["exit_codes"] == {"full 4": 1, "fail 4": 1, "forget -9": 1}, run.stderr
    assert ("its witness has seen row" in data.get("refused_to_start", "")) is (data["rows_forgotten"] > 0)
    assert (data["lost"], data["doubled"], data["books"]["open"]) == (0, 0, 0)
    cash = data["books"]["cash"]
    assert (cash["machines"], cash["breaks"], cash["difference_minor"]) == (2, 0, 0)
    assert cash["loaded_minor"] > 0
    assert run.returncode == 0
    log = (tmp_path / "drill" / "switch.log").read_text()
    assert log.count("storage failed, stopping") == 2
    journal = tmp_path / "drill" / "switch.db"
    assert journal_rules(journal) == []
    number, amount = columns(journal, "number, amount", "journal", "state = 'answered'")[-1]
    do(journal, changed(JOURNAL, number, "amount", amount + 1))
    assert [one.invariant for one in journal_rules(journal)] == ["I8"]


def test_a_small_storm(tmp_path: Path) -> None:
    run = shoudan("drill", "storm", "--terminals", "60", "--dir", str(tmp_path / "drill"), "--json", "-")
    data = json.loads(run.stdout)
    assert data["signed_in_late"] == 0, run.stderr
    assert data["connects"] == 120
    assert data["connections_max"] == data["descriptor_limit"] - 64
    assert run.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("disk", "--mode", "melt"), 2, "--mode melt"),
        (("kill", "--host", "127.0.0.1:7"), 2, "--ground"),
        (("canary", "nowhere"), 2, "no such directory"),
    ],
)
def test_bad_usage_is_one_line(arguments: tuple[str, ...], code: int, reason: str) -> None:
    done = shoudan("drill", *arguments)
    assert done.returncode == code
    assert reason in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
