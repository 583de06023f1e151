"""The sign-in storm and fleets by their profiles, against real switches: 2,000 terminals, each with its own keys."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loadtest.bench.fleet import bench_fleet
from loadtest.stage import clean
from scenarios.demo import Processes
from scenarios.ground import lay, shared_key
from switch.engine.counterpart import wire_time
from switch.wire.profile import PosProfile, load_profile
from switch.wire.roster import TRANSPORT_KEY
from terminals.beside import lay_list
from terminals.census import load_census
from terminals.device.dialogue import Line
from terminals.drive.crowd import Crowd, Sources
from terminals.muster import StormOrder
from terminals.own import TransportKey
from terminals.province import Province
from terminals.storm import Storm


def fleet(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "switch.app.cli", "fleet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def spoken() -> PosProfile:
    profile = load_profile("unionpay-pos")
    assert isinstance(profile, PosProfile)
    return profile


def test_two_thousand_sign_in_are_found_again_and_wait_for_a_slow_hsm(tmp_path: Path) -> None:
    told: list[str] = []
    figures = bench_fleet(tmp_path, "anhui-2015", 2_000, 2_000, told.append)
    assert (figures["terminals"], figures["pos"], figures["atm"], figures["validators"]) == (2_000, 1_901, 81, 18)
    assert (figures["signed_in"], figures["failed"], figures["tried"], figures["reasons"]) == (1_982, 0, 1_982, {})
    assert (figures["connections"], figures["addresses"], figures["ports_an_address"]) == (1_982, 1, 1_982)
    assert 2 <= figures["at_once"] <= 256
    assert figures["sign_ins_per_s"] == pytest.approx(1_982 / figures["sign_in_s"], rel=0.01)
    assert 20 < figures["switch_rss_mib"] < 256 > figures["rss_mib"] > 20
    # the switch was ended and started again: everybody is still signed in, and the keys asked for hold
    again = figures["again"]
    assert again["signed_in"] == 1_982
    assert again["keys_held"] == again["asked"] == 182
    assert again["signed_in_anew"] == 0
    # two keys for 3DES, three for SM4: no HSM of 2,000 a second is faster than that
    hsm = figures["hsm_storm"]
    assert (hsm["signed_in"], hsm["hsm"]["operations"]) == (1_982, 1_982 * 2 + 1_982 // 3)
    assert hsm["sign_in_s"] >= hsm["hsm"]["busy_s"] * 0.98 == pytest.approx(2.31 * 0.98, abs=0.01)
    assert hsm["hsm"]["queue_max"] > 100
    assert any("of 1,982" in line for line in told)


def test_a_storm_that_nobody_answers_and_a_fleet_of_which_nobody_comes(tmp_path: Path) -> None:
    few = ("--terminals", "20", "--host", "127.0.0.1:9")
    done = fleet("--profile", "anhui-2015", "--sign-in-storm", *few)
    assert done.returncode == 3, done.stderr
    mine = tmp_path / "mine.toml"
    mine.write_text('name = "mine"\nspeaks = "unionpay-pos"\n[pos]\nterminals = 30\nmix = { sale = 1 }\n')
    done = fleet("--profile", str(mine), "--host", "127.0.0.1:9")
    assert done.returncode == 2, done.stderr
    assert "--rate: is needed, the fleet's profile has no a_day" in done.stderr


def test_what_this_machine_cannot_give_is_told_with_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, text in (
        (("--at-once", "5000000"), "open files (ulimit -n) allow --at-once "),
        (("--addresses", "3"), "462,000 short connections from 3 addresses with"),
        (("--terminals", "0"), "--terminals '0': of a fleet's profile a number is needed"),
        (("--hsm-ops", "5", "--host", "127.0.0.1:9"), "--hsm-ops is for our own switch"),
    ):
        done = fleet("--profile", "anhui-2015", "--sign-in-storm", *arguments)
        assert done.returncode == 2, done.stderr
        assert text in done.stderr
    from terminals import muster
    from terminals.limits import Impossible

    order = StormOrder(
        census=load_census("anhui-2015"), profile=spoken(), speaks="unionpay-pos", seed=1, directory=Path()
    )
    monkeypatch.setattr(muster, "memory_bytes", lambda: 299 * 2**20)
    with pytest.raises(Impossible, match=r"466,200 terminals need 398 MiB, 299 MiB .*: --terminals 279932 would work"):
        order.check()
    monkeypatch.undo()
    assert order.sources == 21
    order.check()


class Ending:
    """A host that takes so many connections' requests, answers none of them rightly, and is gone."""

    def __init__(self, after: int) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._after = after
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for _ in range(self._after):
            connection, _ = self._server.accept()
            connection.close()
        self._server.close()

    def join(self) -> None:
        self._thread.join(20)


def test_a_host_that_dies_is_told_and_what_was_done_is_kept(tmp_path: Path) -> None:
    host = Ending(20)
    out = tmp_path / "out"
    done = fleet(
        "--profile", "rural-bank-2013", "--terminals", "300", "--sign-in-storm", "--host", f"127.0.0.1:{host.port}",
        "--out", str(out),
    )  # fmt: skip
    host.join()
    assert done.returncode == 3, done.stderr
    assert "the host was lost" in done.stdout
    kept = json.loads((out / "fleet.json").read_text())
    assert kept["lost"] is True
    assert (kept["signed_in"], kept["failed"]) == (0, 300)
    assert set(kept["reasons"]) == {"unreachable"}
    assert kept["reasons"]["unreachable"] == kept["tried"] >= 150


def test_a_refused_sign_in_is_tried_again_and_then_given_up() -> None:
    """A host that hears and closes: three tries each, and every memory back in its row."""
    line = Line(spoken())
    province = Province(load_census("rural-bank-2013").scaled(20), 1, line)
    host = Ending(60)
    one = Storm(province)
    crowd = Crowd(line, ("127.0.0.1", host.port), Sources.loopback(2, (33_000, 33_999)), 4, one.ended, lambda: True)
    crowd.run(one.next)
    host.join()
    assert (one.signed_in, one.failed, one.tried, dict(one.reasons)) == (0, 20, 60, {"unreachable": 60})
    assert (crowd.connections, crowd.most) == (60, 4)
    assert not province.shops.out
    assert not province.machines.out
    assert province.shops.take(3).stan == 3  # each try had a number of its own


def test_places_are_used_in_turn_and_a_taken_one_is_passed_over() -> None:
    sources = Sources.loopback(2, (40_000, 40_002))
    assert sources.addresses == ("127.0.0.2", "127.0.0.3")
    places = [sources.place() for _ in range(7)]
    assert places[:3] == [("127.0.0.2", 40_000), ("127.0.0.3", 40_000), ("127.0.0.2", 40_001)]
    assert places[6] == places[0]
    line = Line(spoken())
    province = Province(load_census("rural-bank-2013").scaled(1), 1, line)
    host = Ending(1)
    one = Storm(province)
    with socket.create_server(("127.0.0.2", 40_000)):
        crowd = Crowd(line, ("127.0.0.1", host.port), Sources.loopback(1, (40_000, 40_009)), 4, one.ended,
                      lambda: one.tried == 0)  # fmt: skip
        crowd.run(one.next)
    host.join()
    assert (crowd._sources.taken, crowd.connections) == (1, 1)


def written(directory: Path) -> Path:
    """A fleet of one's own: no slow lines, machines and shops alike busy."""
    file = directory / "mine.toml"
    file.write_text(
        'name = "mine"\n[pos]\nterminals = 30\ncontactless = 0.5\na_day = 20.0\nmix = { sale = 8, balance = 2 }\n'
        "[atm]\nterminals = 10\ncontactless = 0.5\na_day = 60.0\nmix = { atm_withdrawal = 9, atm_inquiry = 1 }\n"
        "[validators]\nterminals = 60\nfare_minor = 109\na_day = 10.0\n"
    )
    return file


def test_a_fleet_by_its_profile_pays_and_settles_at_a_host(tmp_path: Path) -> None:
    profile = written(tmp_path)
    ground = lay(tmp_path / "house", 7, 1, wire_time(time.time())[:4])
    clean(ground)
    listed = tmp_path / "list"
    kek = ground.directory / "transport-keys.csv"
    done = fleet("--profile", str(profile), "--write-list", str(listed), "--kek-file", str(kek))
    assert done.returncode == 0, done.stderr
    assert (listed / "transport-keys.csv").read_text() == kek.read_text()
    ground.terminal_list.write_bytes((listed / "terminals.csv").read_bytes())
    province = Province(load_census(str(profile)), 7, Line(spoken()))
    lay_list(tmp_path, province.registered(), TransportKey(TRANSPORT_KEY, "sm4", shared_key(7, TRANSPORT_KEY, "sm4")))
    assert (tmp_path / "terminals.csv").read_bytes() == ground.terminal_list.read_bytes()

    house = Processes(ground)
    try:
        house.open()
        done = fleet(
            "--profile", str(profile), "--host", f"127.0.0.1:{ground.switch_port}", "--rate", "40", "--seconds", "8",
            "--rest", "40", "--out", str(tmp_path / "out"),
        )  # fmt: skip
    finally:
        house.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "out" / "fleet.json").read_text())
    assert (told["fleet"], told["terminals"], told["pos"], told["atm"]) == ("mine", 100, 30, 10)
    assert told["taps"]["rides"] > 10
    assert 100 <= told["taps"]["mean_minor"] <= 200
    assert told["open"] == []
    assert told["reversals"]["pending"] == 0
    assert set(told["by_transaction"]) <= {"sale", "balance", "atm_withdrawal", "atm_inquiry"}
    assert told["by_transaction"]["sale"] > 10
    assert told["by_transaction"]["atm_withdrawal"] >= 5  # ten machines, and notes take four seconds to come
    assert told["approved"] > 50
    assert set(told["settlements"]) == {"balanced"}
    assert told["opened"] >= 30  # terminals with a page: their closed batches
