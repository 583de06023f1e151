"""Small demo days with real processes: the books agree, nothing leaks, and a killed switch loses nothing."""

import base64
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scenarios.ground import CARDS_PER_ISSUER
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio

SEED = 7


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """One day of 60 terminals in which the switch is killed; its directory, its JSON and what it printed."""
    directory = tmp_path_factory.mktemp("demo") / "day"
    run = subprocess.run(
        [
            sys.executable, "-m", "switch.app.cli", "demo", "--terminals", "60", "--seconds", "10", "--seed", str(SEED),
            "--dir", str(directory), "--kill-at", "4", "--json", "-",
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
    rows = sqlite3.connect(directory / "switch.db").execute(
        "SELECT DISTINCT settlement_date FROM journal WHERE state = 'answered' AND response_code = '00'"
    )
    assert len(rows.fetchall()) == 2


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
    journal = sqlite3.connect(directory / "switch.db")
    rrn, amount = journal.execute(
        "SELECT rrn, amount FROM journal WHERE kind = 'sale' AND state = 'answered' AND response_code = '00'"
    ).fetchone()
    journal.execute("UPDATE journal SET amount = amount + 1 WHERE rrn = ? AND state = 'answered'", (rrn,))
    journal.commit()
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    journal.execute("UPDATE journal SET amount = ? WHERE rrn = ? AND state = 'answered'", (amount, rrn))
    journal.commit()
    assert run.returncode == 1
    breaks = json.loads(run.stdout)["breaks"]
    assert {item["rrn"] for item in breaks} == {rrn}


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
