"""A soak, and what `shoudan load` refuses or ends with: real processes, real exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtest.open import soak
from loadtest.open.report import page

ROOT = Path(__file__).parent.parent


def load(*arguments: str, timeout_s: float = 55) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "switch.app.cli", "load", *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout_s, env=environment
    )


@contextmanager
def yes_man(place: Path) -> Iterator[tuple[list[str], "subprocess.Popen[bytes]"]]:
    """A host that says yes, and the options that lead to it."""
    laid = subprocess.run(
        [sys.executable, "-m", "loadtest.stage", str(place), "30", "7", "0612", "0"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(laid.stdout) | {"seed": 7}
    (place / "load.json").write_text(json.dumps(told))
    host = subprocess.Popen([sys.executable, "-m", "loadtest.bench.answering", str(place)], cwd=ROOT)
    try:
        time.sleep(1.0)
        yield (
            [
                "--host", f"127.0.0.1:{told['port']}", "--terminals", str(place / "terminals.csv"),
                "--kek-file", str(place / "transport-keys.csv"), "--profile", str(place / "profile-pos.toml"),
                "--seed", "7", "--entry", "stripe",
            ], host,
        )  # fmt: skip
    finally:
        host.kill()
        host.wait()


def test_a_slope_is_in_per_cent_a_minute() -> None:
    rows = [{"second": float(n), "a": 100.0, "b": 100.0 + n / 60} for n in range(61)]
    assert soak.slope(rows, "a") == 0.0
    assert soak.slope(rows, "b") == pytest.approx(1.0 / 1.005, abs=1e-6)
    assert soak.slope(rows[:1], "a") == soak.slope([], "a") == 0.0


def figures(grows: float, left: int = 0) -> dict[str, Any]:
    rows = [{"second": float(n), "switch": 100.0 + max(0, n - 30) / 60 * grows} for n in range(61)]
    return {"memory": rows, "left_over": {"inflight": left, "stored": 0, "tasks": -1}, "owing": 0, "under_way": 0}


def test_what_a_soak_has_to_show() -> None:
    well = {"agreed": True, "transactions": 5, "breaks": []}
    assert [one.holds for one in soak.findings(figures(0.5), well)] == [True, True, True, True]
    memory, left, _, books = soak.findings(figures(3.0, left=2), well | {"agreed": False, "breaks": [{}]})
    assert not memory.holds
    assert memory.found.startswith("+2.9")
    assert (left.holds, left.found) == (False, "2 inflight")
    assert (books.holds, books.found) == (False, "5 transactions, 1 breaks")


def test_a_soak_leaves_nothing_over_and_its_books_agree(tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("s")  # a short name: a socket's path has room for 107 bytes
    done = load("soak", "--out", str(out), "--rate", "20", "--seconds", "6", "--terminals", "12", "--entry", "stripe",
                "--workers", "2", "--think", "0.2", "--batch", "3", "--day", "2")  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    told = json.loads((out / "summary.json").read_text())
    found = {one["en"]: one for one in told["findings"]}
    assert {f"memory of {name}: growth a minute in the second half" for name in
            ("centre", "core", "switch", "worker 1", "worker 2")} <= set(found)  # fmt: skip
    assert found["tasks and deadlines left over"]["holds"]
    assert found["terminals that still owe or wait"]["holds"]
    assert found["the day reconciled"]["holds"], found
    assert found["the day reconciled"]["found"].startswith(f"{told['sent']:,} transactions")
    assert len(told["days"]) >= 2
    assert told["settled"] > 0
    assert (done.returncode == 0) == all(one["holds"] for one in found.values())
    assert told["order"]["schedule"] == "poisson"
    assert len(told["memory"]) >= 5
    assert all(row["worker 1"] > 20 for row in told["memory"])
    lines = (out / "memory.csv").read_text().splitlines()
    assert lines[0] == "second,centre,core,switch,worker 1,worker 2"
    assert len(lines) == len(told["memory"]) + 1
    report = (out / "report.html").read_text()
    assert "浸泡 Soak" in report
    assert report.count("<svg") == 4
    assert {path.name for path in out.iterdir() if path.is_dir()} == set(), "the house is gone"


def test_a_report_without_a_soak_has_no_memory_in_it() -> None:
    from test_load_open import told

    assert "内存" not in page(told(9.5))


def test_a_rate_that_no_machine_gives_is_refused_with_one_that_it_does(tmp_path: Path) -> None:
    with yes_man(tmp_path / "ground") as (host, _):
        done = load("run", *host, "--rate", "900000", "--seconds", "2", "--out", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert "a second are more than one process gives here in full mode" in done.stderr
    assert "would work" in done.stderr
    assert not (tmp_path / "out" / "summary.json").exists()


def test_more_terminals_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    for command in (("run", "--rate", "5"), ("soak",)):
        done = load(*command, "--terminals", "200000000", "--seconds", "4", "--out", str(tmp_path / "out"))
        assert done.returncode == 2
        assert "200,000,000 terminals are more than" in done.stderr
        assert "would work" in done.stderr


def test_a_host_that_is_killed_under_load_ends_the_run_and_the_results_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with yes_man(tmp_path / "ground") as (options, host):
        command = [sys.executable, "-m", "switch.app.cli", "load", "run", *options, "--rate", "30", "--seconds", "60"]
        running = subprocess.Popen([*command, "--out", str(out)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        end = time.monotonic() + 30
        while not (out / "seconds.csv").exists() or len((out / "seconds.csv").read_text().splitlines()) < 4:
            assert time.monotonic() < end
            time.sleep(0.1)
        host.send_signal(signal.SIGKILL)
        shown, _ = running.communicate(timeout=40)
    assert running.returncode == 4, shown
    assert "the host was lost after" in shown
    told = json.loads((out / "summary.json").read_text())
    assert told["approved"] >= 50
    assert told["dead_after_s"] is not None
    assert told["seconds"] < 40
    assert len((out / "seconds.csv").read_text().splitlines()) > 4
    assert "失联" in (out / "report.html").read_text()
