"""Locust's master and two workers before a switch of two workers: all kinds of users, through a change of day."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.house import house
from switch.app.clearing import reconcile_files
from terminals.beside import free_ports

pytest.importorskip("gevent")
ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(180)
def test_a_distributed_run_goes_through_a_change_of_day(tmp_path: Path) -> None:
    directory, out = tmp_path / "house", tmp_path / "run"
    (port,) = free_ports(1)
    common = ["-m", "locust", "-f", "loadtest/locusts/locustfile.py", "--ground", str(directory)]
    with house(directory, 40, seed=7, atms=4, workers=2, validators=4) as running:
        before = running.ask("switch", "status")["counterparts"]["cups"]["settlement_date"]
        master = [
            sys.executable, *common, "--master", "--headless", "--master-bind-port", str(port), "--expect-workers", "2",
            "--shape", "cutover", "--shape-users", "12", "--shape-seconds", "12", "--only-summary",
            "--json-file", str(out),
        ]  # fmt: skip
        worker = [sys.executable, *common, "--worker", "--master-port", str(port), "--expect-workers", "2"]
        quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "text": True}
        processes = [subprocess.Popen(master, stderr=subprocess.PIPE, **quiet)]  # type: ignore[call-overload]
        processes += [subprocess.Popen(worker, stderr=subprocess.DEVNULL, **quiet) for _ in range(2)]  # type: ignore[call-overload]
        try:
            _, said = processes[0].communicate(timeout=50)
        finally:
            for process in processes:
                if process.poll() is None:
                    os.kill(process.pid, signal.SIGTERM)
                    process.wait(15)
        assert processes[0].returncode == 0, said
        entries = {entry["name"]: entry for entry in json.loads(out.with_suffix(".json").read_text())}
        assert {"sale tap", "sale stripe", "ride gate"} <= set(entries)
        assert sum(entry["num_failures"] for entry in entries.values()) == 0
        end = time.monotonic() + 20
        while (status := running.ask("switch", "status"))["stored"] or status["inflight"]:
            assert time.monotonic() < end
            time.sleep(0.2)
        dates = {one["counterparts"][name]["settlement_date"] for one in status["workers"] for name in ("cups", "core")}
        assert len(dates) == 1, "all workers have changed the day, for both counterparts"
        assert dates != {before}
        assert [worker["cut_overs"] for worker in status["workers"]] == [2, 2]
    joined = reconcile_files(directory / "switch.db", [directory / "centre.db", directory / "core.db"], None)
    assert joined.agreed, joined.breaks[:5]
    assert len({date for date, _ in joined.totals}) == 2
