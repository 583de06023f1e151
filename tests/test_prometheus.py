"""A real Prometheus over a real switch, network centre and core: it scrapes, and every query of ours finds data."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scenarios.ground import CARDS_PER_ISSUER, Ground, lay
from switch.app.control import ask_control
from switch.app.dashboard import dashboard
from switch.engine.counterpart import wire_time
from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from switch.wire.profile import PosProfile, load_profile
from terminals.beside import free_ports
from terminals.device import pos
from terminals.device.dialogue import Line
from terminals.drive.blocking import Session
from terminals.fleet import memory_of, mint

SEED, TERMINALS = 7, 6
DEPLOY = Path(__file__).parent.parent / "deploy"
PROMETHEUS = shutil.which("prometheus")

pytestmark = pytest.mark.skipif(not PROMETHEUS, reason="prometheus is not installed (Debian package prometheus)")


def wait_for(what: Any, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            if found := what():
                return found
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ground, list[int], int]]:
    """A switch, a centre and a core with their pages of metrics, and a Prometheus that reads them every half second."""
    directory = tmp_path_factory.mktemp("prometheus")
    ground = lay(directory / "day", SEED, TERMINALS, wire_time(time.time())[:4])
    *pages, web = free_ports(4)
    children = []
    for name, page in zip(("centre", "core", "switch"), pages, strict=True):
        config = ground.config(name)
        config.write_text(f'metrics = "127.0.0.1:{page}"\n' + config.read_text(encoding="utf-8"), encoding="utf-8")
        command = "serve" if name == "switch" else "centre"
        children.append(subprocess.Popen([sys.executable, "-m", "switch.app.cli", command, str(config)]))
        wait_for(lambda name=name: ask_control(ground.control(name), "status"))
    lines = lambda: ask_control(ground.control("switch"), "status")["counterparts"].values()  # noqa: E731
    wait_for(lambda: all(line["ready"] for line in lines()))
    (directory / "alerts.yml").write_text((DEPLOY / "alerts.yml").read_text(encoding="utf-8"), encoding="utf-8")
    config = directory / "prometheus.yml"
    text = (DEPLOY / "prometheus.yml").read_text(encoding="utf-8")
    for number, port in zip((9102, 9103, 9101), pages, strict=True):
        text = text.replace(f"127.0.0.1:{number}", f"127.0.0.1:{port}")
    config.write_text(text.replace("15s", "500ms"), encoding="utf-8")
    with (directory / "prometheus.log").open("w") as log:
        children.append(
            subprocess.Popen(
                [
                    str(PROMETHEUS), f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{web}", "--log.level=warn",
                ],
                stdout=log, stderr=log,
            )
        )  # fmt: skip
    try:
        yield ground, pages, web
    finally:
        for child in reversed(children):
            child.terminate()
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(20)
            child.kill()


def trade(ground: Ground, seconds: float) -> int:
    """Terminals pay one after another, with good PINs and bad ones, on both lines; how many sales were asked."""
    profile = load_profile("unionpay-pos")
    assert isinstance(profile, PosProfile)
    line = Line(profile)
    memories = [memory_of(terminal) for terminal in mint(SEED, TERMINALS)]
    sessions = [Session(line, "127.0.0.1", ground.switch_port) for _ in memories]
    portfolio = Portfolio(SEED, STANDARD_ISSUERS, CARDS_PER_ISSUER)
    for memory, session in zip(memories, sessions, strict=True):
        session.run(pos.sign_in(memory, line), lambda asked: asked.about.pin)
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        n = done % TERMINALS
        card: Card = portfolio.card(done % 3, done // 3)
        wrong = done % 10 == 9
        flow = pos.sale(memories[n], line, card, 1000 + done)
        sessions[n].run(flow, lambda asked, wrong=wrong: "000000" if wrong else asked.about.pin)
        done += 1
    for session in sessions:
        session.close()
    return done


def ask(web: int, query: str) -> list[dict[str, Any]]:
    """An instant query over Prometheus' HTTP API."""
    url = f"http://127.0.0.1:{web}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(url, timeout=10) as answer:
        data = json.load(answer)
    assert data["status"] == "success"
    result: list[dict[str, Any]] = data["data"]["result"]
    return result


def test_every_query_of_the_dashboard_returns_data(ground: tuple[Ground, list[int], int]) -> None:
    laid, pages, web = ground
    wait_for(lambda: len(ask(web, "up == 1")) == 3)
    asked = trade(laid, 5.0)
    assert asked > 20
    time.sleep(1.5)
    switch = f'instance="127.0.0.1:{pages[2]}"'
    answered = ask(web, f"sum(shoudan_authorizations_total{{{switch}}})")
    assert float(answered[0]["value"][1]) == ask_control(laid.control("switch"), "status")["authorizations"] >= asked
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
            found = ask(web, query)
            assert found, f"{panel['title']}: {query}"
            assert all(sample["value"][1] != "NaN" for sample in found), f"{panel['title']}: {query}"
    (variable,) = (v for v in dashboard()["templating"]["list"] if v["name"] == "instance")
    metric = variable["query"]["query"].removeprefix("label_values(").partition(", ")[0]
    assert len(ask(web, metric)) == 1


def test_rules_are_evaluated_and_nothing_fires_that_should_not(ground: tuple[Ground, list[int], int]) -> None:
    _, pages, web = ground
    for rule in (
        "shoudan:authorizations:rate5m", "shoudan:business_success:ratio_rate5m", "shoudan:system_success:ratio_rate5m",
        "shoudan:authorization_duration_seconds:p99_rate5m",
    ):  # fmt: skip
        found = wait_for(lambda rule=rule: ask(web, rule))
        assert all(sample["metric"]["instance"] == f"127.0.0.1:{pages[2]}" for sample in found)
    (system,) = ask(web, "shoudan:system_success:ratio_rate5m")
    assert float(system["value"][1]) > 0.9
    assert ask(web, 'ALERTS{alertstate="firing"}') == []
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/api/v1/rules", timeout=10) as answer:
        groups = json.load(answer)["data"]["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


def test_a_page_holds_nothing_of_a_card_or_terminal(ground: tuple[Ground, list[int], int]) -> None:
    _, pages, _ = ground
    fleet = mint(SEED, TERMINALS)
    portfolio = Portfolio(SEED, STANDARD_ISSUERS, CARDS_PER_ISSUER)
    for page in pages:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        assert "shoudan_build_info" in text
        assert not any(terminal.tid in text or terminal.mid in text for terminal in fleet)
        assert not any(portfolio.card(i, n).pan[:12] in text for i in range(3) for n in range(5))


def test_an_address_that_is_taken_is_one_line(ground: tuple[Ground, list[int], int], tmp_path: Path) -> None:
    _, pages, _ = ground
    other = lay(tmp_path / "other", SEED, 1, "1028")
    config = other.config("centre")
    config.write_text(f'metrics = "127.0.0.1:{pages[0]}"\n' + config.read_text(encoding="utf-8"), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "switch.app.cli", "centre", str(config)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.startswith(f"shoudan: metrics 127.0.0.1:{pages[0]}:")
    assert len(run.stderr.strip().splitlines()) == 1
