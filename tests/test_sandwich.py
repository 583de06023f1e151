"""The sandwich around our own switch: whole it passes; each planted defect is named by its rule, nothing else is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from defective_switch import DEFECTS
from house import DAY
from sandwich_house import Sandwich, found
from test_demo import needles

from scenarios.sandwich.cli import as_dict
from scenarios.sandwich.ground import CARDS_PER_ISSUER, prepare, read
from scenarios.sandwich.machines import MACHINE_ROWS
from scenarios.sandwich.mix import FIRST_STAN
from switch.app.config import ConfigError
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.transactions import ROWS

TESTS = Path(__file__).parent
CLI = """
import sys, typer
from scenarios.sandwich.cli import register
from switch.app.config import ConfigError
app = typer.Typer()
app.callback()(lambda: None)
register(app)
try:
    app()
except ConfigError as error:
    print("shoudan:", error, file=sys.stderr)
    sys.exit(2)
"""

NAMED = {
    "drops-55": {"request.DE55"},
    "drops-23": {"request.DE23"},
    "drops-26": {"request.DE26"},
    "drops-103": {"request.DE103"},
    "machines-as-pos": {"request.DE60"},
    "confirms-nothing": {"request.DE90"},
    "spoils-new-pins": {"request.DE52"},
    "drops-38": {"request.DE38", "reversal.DE38"},
    "pin-not-translated": {"request.DE52"},
    "wrong-terminal": {"course.addressee"},
    "answers-anothers": {"course.addressee", "course.answered"},
    "never-answers": {"course.answered"},
    "keeps-310000": {"request.DE3"},
    "keeps-stan": {"request.DE11"},
    "keeps-d": {"request.DE35"},
    "track-in-reversals": {"reversal.track"},
    "rounds-amounts": {"request.DE4"},
    "wrong-mcc": {"request.DE18"},
    "wrong-mac-key": {"line.DE128"},
    "wrong-terminal-mac": {"answer.DE64"},
    "no-reversals": {"course.reversed", "course.taken_back"},
    "new-reversal-key": {"course.repeat_key"},
    "approves-silence": {"course.silence"},
    "maps-51-to-05": {"answer.DE39"},
}
"""What the sandwich is to say of each defect, and nothing else."""


def played(*defects: str) -> Sandwich:
    sandwich = Sandwich(*defects)
    sandwich.play()
    return sandwich


def test_a_whole_switch_passes_with_every_row_seen() -> None:
    sandwich = played()
    judgement = sandwich.judged()
    assert found(judgement) == set()
    assert judgement.missing == []
    assert {rule.name for rule in judgement.unchecked} == {"request.DE36"}, "no terminal sends it"
    assert judgement.joined.how()[""] == 0
    assert not judgement.joined.ambiguous
    assert not judgement.joined.orphans
    assert judgement.reversals > 20
    assert all(c.approved for c in judgement.coverage.values() if c.asked)
    assert {name for name, c in judgement.coverage.items() if c.asked} == {row.name for row in ROWS if not row.chip}, (
        "those of machines among them"
    )
    sent = [asked.request.fields[11] for asked in sandwich.recorder.asked if 11 in asked.request.fields]
    assert min(map(int, sent)) > FIRST_STAN


def test_the_list_of_defects_is_whole() -> None:
    assert set(NAMED) == set(DEFECTS)


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_a_defect_is_named_and_nothing_else(defect: str) -> None:
    assert found(played(defect).judged()) == NAMED[defect]


def test_machines_are_held_to_the_table() -> None:
    """Inquiries converted, the merchant's type, PINs translated, reversals of what was not paid out, confirmations."""
    judgement = played("keeps-310000", "wrong-mcc", "pin-not-translated").judged()
    assert found(judgement) == {"request.DE3", "request.DE18", "request.DE52"}
    kinds = {name: judgement.findings[name].kinds for name in found(judgement)}
    assert set(kinds["request.DE3"]) == {"balance", "points_balance", "atm_inquiry"}
    assert set(kinds["request.DE18"]) >= MACHINE_ROWS
    assert MACHINE_ROWS - set(kinds["request.DE52"]) == {"atm_deposit_confirm"}, "an advice has no PIN"
    pairs = [pair for pair in judgement.joined.pairs if pair.row.name in MACHINE_ROWS]
    assert any(pair.row.cash == "out" and pair.reversals and pair.taken_back for pair in pairs)
    confirmed = [pair for pair in pairs if pair.row.confirms]
    assert all(pair.original is not None and pair.original.row.name == "atm_deposit" for pair in confirmed)
    assert any(pair.received is not None and pair.received.repeats for pair in confirmed), "repeated until answered"


def test_a_ground_without_machines_misses_none() -> None:
    sandwich = Sandwich(machines=0)
    sandwich.play()
    judgement = sandwich.judged()
    assert found(judgement) == set()
    assert judgement.missing == []
    assert not any(judgement.coverage[name].asked for name in MACHINE_ROWS)


def test_three_defects_at_once() -> None:
    judgement = played("drops-55", "pin-not-translated", "wrong-terminal").judged()
    assert found(judgement) == {"request.DE55", "request.DE52", "course.addressee"}


def test_evidence_is_masked_and_side_by_side() -> None:
    sandwich = played("pin-not-translated", "keeps-d", "track-in-reversals")
    text = json.dumps(as_dict(sandwich.judged()), ensure_ascii=False)
    finding = json.loads(text)["findings"][0]
    assert set(finding["evidence"]) == {"reason", "transaction", "front", "back"}
    assert finding["evidence"]["front"]["fields"]["35"].count("*") > 8
    for issuer in STANDARD_ISSUERS:
        for prefix in issuer.bins:
            for needle in needles(prefix + "0" * (issuer.pan_digits - len(prefix) - 6)):
                assert needle not in text.encode()
    for memory in sandwich.memories:
        for item in (*memory.closed, *memory.items):
            assert item.pan not in text
            assert item.pan not in repr((sandwich.recorder, sandwich.recorder.asked))


def test_a_switch_that_never_answers() -> None:
    sandwich = Sandwich()
    sandwich.engine.receive = lambda link, frame, now, out: None  # type: ignore[method-assign]
    for tid, script in sandwich.scripts.items():
        script.after(sandwich.dialogue(tid, script.next()))
    judgement = sandwich.judged()
    assert found(judgement) == {"course.answered"}
    assert judgement.findings["course.answered"].checked == len(sandwich.scripts)


def test_requests_in_doubt_are_joined_without_an_rrn() -> None:
    how = played("never-answers").judged().joined.how()
    assert how["terminal, card and time"] > 0
    assert how["RRN"] > how["terminal, card and time"]


def broken_by(sandwich: Sandwich) -> set[str]:
    return found(sandwich.judged())


def test_bytes_that_no_line_should_see() -> None:
    """A request repeated under its key, another class, another header, no message at all."""
    frames: list[tuple[bytes, bytes]] = []
    sandwich = Sandwich(contrary=False)
    take = sandwich.recorder.line_receives
    sandwich.recorder.line_receives = lambda line, header, body, at: (  # type: ignore[method-assign]
        frames.append((header, body)),
        take(line, header, body, at),
    )[1]
    tid, script = next(iter(sandwich.scripts.items()))
    script.after(sandwich.dialogue(tid, script.next()))
    header, body = frames[-1]
    assert body[:4] == b"0200"
    line = "core" if header[6:14] == b"04384531" else "cups"
    assert broken_by(sandwich) == set()
    take(line, header, body, sandwich.mono)
    assert broken_by(sandwich) == {"course.key"}
    take(line, header, b"0400" + body[4:], sandwich.mono)
    assert broken_by(sandwich) == {"course.key", "back.class"}
    take(line, header[:6] + b"99999999   " + header[17:], body, sandwich.mono)
    take(line, header, body[:50], sandwich.mono)
    sandwich.recorder.line_garbled(line, "length 0", sandwich.mono)
    sandwich.recorder.terminal_garbled(tid, "length 0", sandwich.mono)
    assert broken_by(sandwich) == {"course.key", "back.class", "back.header", "back.readable", "front.readable"}


def test_a_second_answer_and_a_late_one() -> None:
    sandwich = Sandwich(contrary=False)
    recorder, answers = sandwich.recorder, []
    take = recorder.terminal_receives
    recorder.terminal_receives = lambda tid, body, at: (answers.append(body), take(tid, body, at))[1]  # type: ignore[method-assign]
    tid, script = next(iter(sandwich.scripts.items()))
    script.after(sandwich.dialogue(tid, script.next()))
    take(tid, answers[-1], sandwich.mono)
    assert broken_by(sandwich) == {"course.once"}
    last = recorder.asked[-1]
    last.spare.clear()
    last.answer, last.ended = None, sandwich.mono
    take(tid, answers[-1], sandwich.mono + 1.0)
    assert broken_by(sandwich) == {"course.answered"}
    evidence = sandwich.judged().findings["course.answered"].evidence
    assert evidence is not None
    assert evidence.reason == "only after the terminal had given up"


# the ground


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    prepare(tmp_path / "ground", 3, 4, DAY, "", (), 2)
    return tmp_path / "ground"


def test_a_ground_reads_back(ground: Path) -> None:
    setup = read(ground)
    assert [terminal.tid for terminal in setup.terminals] == [
        "10000001", "10000002", "10000003", "10000004", "60000001", "60000002",
    ]  # fmt: skip
    assert [terminal.model for terminal in setup.terminals[4:]] == ["ATM", "CRS"]
    assert setup.machines.name == "demo-pos"
    assert setup.machines.timers.reply_s == setup.pos.timers.reply_s == 10.0
    assert {line.name: line.cards for line in setup.config.lines} == {"cups": "others", "core": "own"}
    assert (ground / "transport-keys.csv").stat().st_mode & 0o077 == 0
    moved = read(ground, "10.0.0.1:9", ("10.0.0.2:1", "core=10.0.0.3:2")).config
    assert (moved.front, [line.listen for line in moved.lines]) == ("10.0.0.1:9", ["10.0.0.2:1", "10.0.0.3:2"])
    bins = (ground / "bins.csv").read_text(encoding="utf-8")
    assert "621214,19,04384531,示例银行,Example Bank,core" in bins
    assert setup.config.cards_per_issuer == CARDS_PER_ISSUER


def test_one_line_takes_all_cards(tmp_path: Path) -> None:
    prepare(tmp_path, 3, 2, DAY, "127.0.0.1:7001", ("127.0.0.1:7002",))
    setup = read(tmp_path)
    assert [(line.name, line.cards) for line in setup.config.lines] == [("cups", "all")]
    assert setup.lines["cups"].timers.reply_s == 30.0
    assert not (tmp_path / "own-switch").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("line-keys.csv", "zmk/core", "zmk/kern", "key zmk/core is missing"),
        ("terminals.csv", "10000002", "10000001", "line 3: tid: the same as in line 2"),
        ("sandwich.toml", "cards =", "card =", "unknown field"),
        ("sandwich.toml", "127.0.0.1:", "127.0.0.1", "HOST:PORT is needed"),
    ],
)
def test_a_bad_ground_is_refused_with_its_place(ground: Path, file: str, old: str, new: str, reason: str) -> None:
    path = ground / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=reason):
        read(ground)


@pytest.mark.parametrize("file", ["terminals.csv", "line-keys.csv"])
def test_a_wrong_check_value_is_refused_with_its_line(ground: Path, file: str) -> None:
    path = ground / file
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[1].split(",")
    cells[lines[0].split(",").index("kcv")] = "00000000"
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]), encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2: kcv"):
        read(ground)


def test_a_directory_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(ConfigError, match="not empty"):
        prepare(tmp_path, 3, 2, DAY, "", ())


# the command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CLI, "sandwich", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_ground_or_a_switch(tmp_path: Path, ground: Path) -> None:
    run = command("--dir", str(tmp_path / "nowhere"))
    assert run.returncode == 2
    assert "no such file" in run.stderr
    run = command("--dir", str(ground), "--wait", "0.2")
    assert run.returncode == 3
    assert "did not sign on to line cups" in run.stderr
    assert command("--dir", str(ground), "--back-listen", "atm=127.0.0.1:1").returncode == 2


def test_the_table_prints_itself() -> None:
    run = command("--rules", "--json", "-")
    rows = {row["rule"]: row for row in json.loads(run.stdout)}
    assert run.returncode == 0
    assert rows["request.DE90"]["rows"][:3] == ["sale_void", "refund", "completion_void"]
    assert rows["request.DE18"]["how"] == "converted"


def test_over_sockets_three_defects_are_named(tmp_path: Path, ground: Path) -> None:
    """The switch as a process, with three defects; the sandwich as another."""
    with (tmp_path / "switch.log").open("w") as log:
        switch = subprocess.Popen(
            [
                sys.executable, str(TESTS / "defective_switch.py"), str(ground / "own-switch" / "switch.toml"),
                "drops-55", "pin-not-translated", "wrong-terminal",
            ],
            stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        )  # fmt: skip
    began = time.monotonic()
    try:
        run = command("--dir", str(ground), "--seconds", "4", "--pace", "0.05", "--slack", "2", "--json", "-")
    finally:
        switch.send_signal(signal.SIGTERM)
        switch.wait(20)
    assert run.returncode == 1, run.stderr[-2000:] + (tmp_path / "switch.log").read_text()[-2000:]
    data: dict[str, Any] = json.loads(run.stdout)
    assert {finding["rule"] for finding in data["findings"]} == {"request.DE52", "request.DE55", "course.addressee"}
    assert data["joined"]["RRN"] > 10
    assert time.monotonic() - began < 40
    portfolio = Portfolio(3, STANDARD_ISSUERS, CARDS_PER_ISSUER)
    starts = {portfolio.card(n, 0).pan[:-4] for n in range(len(STANDARD_ISSUERS))}
    assert not any(start in run.stdout + run.stderr for start in starts)
