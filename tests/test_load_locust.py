"""Locust's half: users, shapes, thresholds and the bridge, in processes of their own."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("gevent")
ROOT = Path(__file__).parent.parent
LOCUSTFILE = "loadtest/locusts/locustfile.py"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ground whose host says yes to everything."""
    place = tmp_path_factory.mktemp("locust") / "ground"
    laid = subprocess.run(
        [sys.executable, "-m", "loadtest.stage", str(place), "60", "7", "0612", "4", "6"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (place / "load.json").write_text(json.dumps(json.loads(laid.stdout) | {"seed": 7}))
    host = subprocess.Popen([sys.executable, "-m", "loadtest.bench.answering", str(place)], cwd=ROOT)
    time.sleep(1.0)
    yield place
    host.terminate()
    host.wait(10)


def locust(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locust", "-f", LOCUSTFILE, "--headless", "--only-summary", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=40)


def test_users_of_all_kinds_pay_and_percentiles_are_below_a_millisecond(ground: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = locust("--ground", str(ground), "-u", "10", "-r", "100", "-t", "6s", "--json-file", str(out))
    assert done.returncode == 0, done.stderr
    entries = {entry["name"]: entry for entry in json.loads(out.with_suffix(".json").read_text())}
    assert {"sale tap", "sale stripe", "atm_withdrawal atm", "ride gate"} <= set(entries)
    assert all(entry["num_failures"] == 0 for entry in entries.values())
    assert entries["sale tap"]["num_requests"] > 20
    times = [float(key) for key in entries["sale tap"]["response_times"]]
    assert any(0 < value < 10 and value != int(value) for value in times)


def test_gates_tap_offline_and_their_office_claims_every_tap(ground: Path, tmp_path: Path) -> None:
    out = tmp_path / "gates"
    done = locust("--ground", str(ground), "-u", "3", "-r", "100", "-t", "8s", "--json-file", str(out), "ValidatorUser")
    assert done.returncode == 0, done.stderr
    entries = {entry["name"]: entry for entry in json.loads(out.with_suffix(".json").read_text())}
    assert set(entries) == {"ride gate", "file gate", "claim gate"}
    assert all(entry["num_failures"] == 0 for entry in entries.values())
    book = max(ground.glob("backoffice-*.db"), key=lambda path: path.stat().st_mtime)
    with closing(sqlite3.connect(book)) as office:
        paid = office.execute("SELECT count(*) FROM taps WHERE state = 'paid'").fetchone()[0]
        fates = dict(office.execute("SELECT state, count(*) FROM fates GROUP BY state"))
        files = office.execute("SELECT count(*), sum(taps) FROM files").fetchone()
    assert 10 < paid <= entries["ride gate"]["num_requests"]
    assert fates == {"delivered": paid}
    assert files[0] == entries["file gate"]["num_requests"]
    assert files[1] >= paid


def test_more_gates_than_the_ground_has_are_refused(ground: Path) -> None:
    done = locust("--ground", str(ground), "-u", "9", "-r", "100", "-t", "3s", "ValidatorUser")
    assert (done.returncode, "gates here are all in use" in done.stderr) == (3, True), done.stderr


def test_a_broken_threshold_and_a_failed_set_up_end_differently(ground: Path) -> None:
    slow = locust("--ground", str(ground), "-u", "2", "-r", "100", "-t", "1s", "--max-p99-ms", "0.01")
    assert (slow.returncode, "threshold: p99" in slow.stderr) == (1, True), slow.stderr
    nowhere = locust("--ground", str(ground / "missing"), "-u", "2", "-r", "100", "-t", "1s")
    assert (nowhere.returncode, "set-up failed" in nowhere.stderr) == (3, True), nowhere.stderr
    assert "load.json; `shoudan load house DIR` makes a ground" in nowhere.stderr


def test_shapes_say_how_many_users_there_are() -> None:
    program = (
        "import json, sys; from pathlib import Path; from loadtest.locusts.shapes import *\n"
        "def at(shape, share):\n"
        "    shape.get_run_time = lambda: share * 100\n"
        "    return shape.tick()\n"
        "made = {name: SHAPES[name](100, 100.0, Path('nowhere')) for name in SHAPES}\n"
        "at_all = (0.0, 0.05, 0.5, 0.75, 1.0)\n"
        "told = {name: [at(one, s) and at(one, s)[0] for s in at_all] for name, one in made.items()}\n"
        "json.dump(told, sys.stdout)"
    )
    told = json.loads(subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True))
    assert told["soak"] == [1, 50, 100, 100, None]
    assert told["spike"] == [100, 100, 300, 100, None]
    assert told["day"] == [10, 6, 100, 98, None]
    assert told["cutover"] == [1, 50, 100, 100, None]


def test_the_engine_is_a_worker_of_locusts_master(ground: Path, tmp_path: Path) -> None:
    from terminals.beside import free_ports

    (port,) = free_ports(1)
    out = tmp_path / "bridge"
    master = subprocess.Popen(
        [
            sys.executable, "-m", "locust", "-f", "loadtest/locusts/arrivals.py", "--master", "--headless",
            "--master-bind-port", str(port), "--expect-workers", "1", "-u", "20", "-r", "100", "-t", "6s",
            "--per-user", "2", "--only-summary", "--json-file", str(out),
        ], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    command = [sys.executable, "-m", "loadtest.locusts.bridge", "--ground", str(ground), "--master-port", str(port)]
    bridge = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        _, said = master.communicate(timeout=40)
        assert master.returncode == 0, said
        bridge.wait(10)
    finally:
        for process in (master, bridge):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
    assert bridge.returncode == 0
    (entry,) = json.loads(out.with_suffix(".json").read_text())
    # 20 users of 2 arrivals a second each, for six seconds at most: the first go by until its terminals are signed in
    assert (entry["method"], entry["name"]) == ("open", "sale")
    assert 40 <= entry["num_requests"] <= 280
    assert entry["num_failures"] == 0


def test_a_full_run_and_a_lean_one_leave_all_their_files(ground: Path, tmp_path: Path) -> None:
    import asyncio
    from dataclasses import replace

    from loadtest.open.arrivals import curve
    from loadtest.open.driven import order_of
    from loadtest.open.mix import read_mix
    from loadtest.open.run import play

    order = replace(order_of(ground, 50.0), curve=curve("constant", 60.0, 1.0), even=True, think_s=0.1)
    full = asyncio.run(play(replace(order, mix=read_mix("sale+void=1")), _made(tmp_path / "full")))
    assert full["offered"] == 60
    assert full["by_kind"]["sale"]["count"] + full["skipped"] == 60
    assert full["by_kind"]["sale_void"]["count"] == full["by_kind"]["sale"]["count"]
    assert (full["failed"], full["owing"], full["codes"]) == (0, 0, {"00": full["sent"]})
    lean = asyncio.run(
        play(replace(order, mode="lean", curve=curve("poisson", 400.0, 1.0), even=False), _made(tmp_path / "lean"))
    )
    assert lean["sent"] + lean["skipped"] == lean["offered"] > 300
    assert (lean["failed"], lean["approved"]) == (0, lean["sent"])
    for place in (tmp_path / "full", tmp_path / "lean"):
        assert {path.name for path in place.iterdir()} == {
            "seconds.csv", "samples.jtl", "summary.json", "report.html", "latency-intended.hlog",
            "latency-intended.hgrm", "latency-sent.hlog", "latency-sent.hgrm",
        }  # fmt: skip


def _made(path: Path) -> Path:
    path.mkdir()
    return path
