"""Small demo days with real processes: the books agree, nothing leaks, and a killed switch loses nothing."""

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hand_in_book import changed, do

from scenarios.ground import CARDS_PER_ISSUER
from switch.clearing.schema import JOURNAL
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio

SEED = 7


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """One day of 60 terminals and 6 machines, the switch killed in it; its directory, its JSON and what it printed."""
    directory = tmp_path_factory.mktemp("demo") / "day"
    run = subprocess.run(
        [
            sys.executable, "-m", "switch.app.cli", "demo", "--terminals", "60", "--atms", "6", "--seconds", "14",
            "--seed", str(SEED), "--dir", str(directory), "--kill-at", "3", "--json", "-",
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return directory, json.loads(run.stdout), run.stderr


def test_the_books_agree_after_the_switch_was_killed(day: tuple[Path, dict[str, Any], str]) -> None:
    _, data, _ = day
    assert data["reconciled"] is True
    assert data["breaks"] == []
    assert data["restarts"] == 1
    assert data["authorizations"] == data["approved"] + data["declined"] + data["unknown"] > 50
    assert sum(data["by_transaction"].values()) == data["authorizations"]
    assert sum(data["by_response"].values()) == data["authorizations"]
    assert set(data["latency_ms"]) == {"p50", "p99", "p99_9"}
    assert 0 < data["latency_ms"]["p50"] <= data["latency_ms"]["p99"] <= data["latency_ms"]["p99_9"]
    assert 0.5 < data["business_success_rate"] <= 1
    assert data["switch"]["cut_overs"] == 2  # the network's and the core's


def test_both_settlement_days_hold_transactions(day: tuple[Path, dict[str, Any], str]) -> None:
    directory, _, _ = day
    dates = "SELECT DISTINCT settlement_date FROM journal WHERE state = 'answered' AND response_code = '00'"
    with closing(sqlite3.connect(directory / "switch.db")) as journal:
        assert len(journal.execute(dates).fetchall()) == 2


def test_reconcile_by_hand_says_the_same(day: tuple[Path, dict[str, Any], str]) -> None:
    directory, _, _ = day
    command = [
        sys.executable, "-m", "switch.app.cli", "clearing", "reconcile", "--journal", str(directory / "switch.db"),
        "--ledger", str(directory / "centre.db"), "--ledger", str(directory / "core.db"),
        "--terminals", str(directory / "terminals.db"), "--json", "-",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0
    assert json.loads(run.stdout)["agreed"] is True
    with closing(sqlite3.connect(directory / "switch.db")) as journal:
        number, rrn, amount = journal.execute(
            "SELECT number, rrn, amount FROM journal WHERE kind = 'sale' AND state = 'answered' "
            "AND response_code = '00'"
        ).fetchone()
    do(directory / "switch.db", changed(JOURNAL, number, "amount", amount + 1))
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    do(directory / "switch.db", changed(JOURNAL, number, "amount", amount))
    assert run.returncode == 1
    breaks = json.loads(run.stdout)["breaks"]
    assert {item["rrn"] for item in breaks} == {rrn}


def test_the_cash_of_the_machines_agrees(day: tuple[Path, dict[str, Any], str]) -> None:
    _, data, printed = day
    cash = data["cash"]
    assert data["atms"] == cash["machines"] == 6
    assert cash["difference_minor"] == 0
    assert cash["planted"] == {"nothing": 1, "partly": 1, "unknown": 1, "unheard": 1}
    assert cash["reversals"] == 1
    assert cash["error_records_by_cause"] == {"partly dispensed": 1, "unknown": 1}
    assert cash["confirmations"] >= 1
    moved = sum(cash[f"{name}_minor"] for name in ("dispensed", "retracted", "rejected", "counted"))
    assert cash["loaded_minor"] + cash["deposited_minor"] == moved
    assert "Cash 现金账" in printed


def test_chips_are_in_the_day(day: tuple[Path, dict[str, Any], str]) -> None:
    _, data, printed = day
    chips, e_cash = data["chips"], data["e_cash"]
    entries = chips["entries"]
    assert min(entries[way] for way in ("contact", "contactless", "stripe")) > 0
    assert {"dual", "debit", "credit"} <= set(chips["profiles"])
    assert {"sm", "dual_algorithm"} & set(chips["profiles"])
    assert chips["offline"]["delivered"] > 0
    assert chips["downloads"] > 0
    assert (e_cash["balanced"], e_cash["difference_minor"], e_cash["held"]) == (True, 0, 0)
    assert e_cash["card_minor"] + e_cash["doubt_minor"] == e_cash["shadow_minor"]
    assert e_cash["uploaded"] == chips["offline"]["delivered"] - chips["offline"].get("held", 0)
    buses = chips["buses"]
    assert buses["rides"] == buses["taps"] == buses["delivered"] > 0
    assert "= shadow accounts 影子账户" in printed


def test_what_was_planted_with_chips_came_to_what_it_must(day: tuple[Path, dict[str, Any], str]) -> None:
    directory, data, _ = day
    chips = data["chips"]
    assert chips["planted_in_order"] is True
    assert chips["planted"] == {"forged": 1, "replayed": 6, "flash": 2, "swiped": 12, "load_doubts": 1}
    assert chips["came"] == {
        "forged": {"05": 1}, "replayed": {"94": 6}, "flash": {"once": 2}, "swiped": {"by the terminal": 6, "58": 6},
    }  # fmt: skip
    assert chips["doubtful_listed"] == 1
    assert data["e_cash"]["listed"]["forged"] == 1
    assert any(load["state"] == "sent" for load in data["e_cash"]["loads"])
    report = (directory / "report.html").read_text(encoding="utf-8")
    assert "Chips 芯片卡" in report
    assert "6 answered 94" in report


def test_a_changed_cash_row_is_named(day: tuple[Path, dict[str, Any], str], tmp_path: Path) -> None:
    directory, _, _ = day
    book = tmp_path / "terminals.db"
    shutil.copy(directory / "terminals.db", book)
    first = "SELECT mid, tid, stan, number FROM cash WHERE event = 'dispensed' LIMIT 1"
    with closing(sqlite3.connect(book)) as changed:
        mid, tid, stan, number = changed.execute(first).fetchone()
        changed.execute("UPDATE cash SET notes = notes + 1 WHERE number = ?", (number,))
        changed.commit()
    command = [
        sys.executable, "-m", "switch.app.cli", "clearing", "reconcile", "--journal", str(directory / "switch.db"),
        "--ledger", str(directory / "centre.db"), "--ledger", str(directory / "core.db"),
        "--terminals", str(book), "--json", "-",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    result = json.loads(run.stdout)
    assert {item["book"] for item in result["breaks"]} == {"cash"}
    assert all(item["key"].startswith(f"{mid}/{tid}") for item in result["breaks"])
    assert any(item["key"].endswith(f"/{stan}") for item in result["breaks"])
    assert result["cash"]["difference_minor"] > 0


def needles(pan: str) -> list[bytes]:
    """A card number as it might stand in a file: text, packed in both alignments, hex text of the text, base64."""
    ascii_ = pan.encode()
    even = pan if len(pan) % 2 == 0 else pan[:-1]
    shifted = pan[1:] if len(pan) % 2 else pan[1:-1]
    return [
        ascii_,
        bytes.fromhex(even),
        bytes.fromhex(shifted),
        ascii_.hex().encode(),
        base64.b64encode(ascii_)[:-4],
        pan.encode("utf-16-le"),
    ]


def test_no_card_number_stands_in_any_file(day: tuple[Path, dict[str, Any], str]) -> None:
    """Every BIN with its run of zeros, as a PAN begins, in every encoding, over every file the day wrote."""
    directory, _, printed = day
    portfolio = Portfolio(SEED, STANDARD_ISSUERS, CARDS_PER_ISSUER)
    starts = [
        (prefix + "0" * (issuer.pan_digits - len(prefix) - 6), issuer)
        for issuer in STANDARD_ISSUERS
        for prefix in issuer.bins
    ]
    for n, issuer in enumerate(STANDARD_ISSUERS):
        for serial in (0, 1, CARDS_PER_ISSUER - 1):
            pan = portfolio.card(n, serial).pan
            assert any(pan.startswith(start) for start, of in starts if of is issuer), "a card not covered by the scan"
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {"switch.db", "centre.db", "core.db", "terminals.db", "report.html", "slips.txt"} <= {f.name for f in files}
    contents = {path.name: path.read_bytes() for path in files}
    for start, issuer in starts:
        for needle in needles(start):
            for name, data in contents.items():
                assert needle not in data, f"{name} holds the beginning of a card number of {issuer.institution}"
        assert start not in printed


def test_slips_are_masked_and_complete(day: tuple[Path, dict[str, Any], str]) -> None:
    directory, _, _ = day
    slips = (directory / "slips.txt").read_text(encoding="utf-8")
    assert "签购单" in slips
    assert "CARD SALES SLIP" in slips
    assert "重打印凭证" in slips or "REPRINT" in slips
    assert "******" in slips
