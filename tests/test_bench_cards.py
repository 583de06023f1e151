"""`shoudan bench cards`: the scenes are whole transactions, the figures are there, a missed goal is told."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

import loadtest.cards
from loadtest.cards import GOALS, SCENES, bench_cards, measure, states_mib
from loadtest.cli import bench

RUNNER = CliRunner()


def test_every_scene_runs() -> None:
    rates = measure(SCENES, rounds=1, loops=5, cards=2)
    assert set(rates) == set(SCENES)
    assert all(rate > 5 for rate in rates.values())


def test_a_state_takes_its_row_and_little_more() -> None:
    assert 53 * 20_000 <= states_mib(20_000) * (1 << 20) < 60 * 20_000


def test_the_figures_and_their_names() -> None:
    figures = bench_cards(rounds=1, loops=5, states=1000, cards=2, with_gmssl=False)
    assert set(figures["per_second"]) == set(SCENES)
    assert figures["goals"] == GOALS
    assert figures["gmssl_per_second"] == {}


@pytest.mark.parametrize(("rate", "code"), [(5000, 0), (10, 1)])
def test_a_missed_goal_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, rate: int, code: int) -> None:
    def measured(names: Any, *_: Any) -> dict[str, int]:
        return dict.fromkeys(names, rate)

    monkeypatch.setattr(loadtest.cards, "measure", measured)
    words = ["cards", "--no-gmssl", "--states", "10"]
    done = RUNNER.invoke(bench, [*words, "--json", "-"], catch_exceptions=False)
    assert done.exit_code == code
    assert json.loads(done.stdout)["per_second"]["tap_online"] == rate
    shown = RUNNER.invoke(bench, words, catch_exceptions=False, env={"COLUMNS": "120"})
    assert "tap, online" in shown.stdout


def test_gmssl_alone_is_measured_beside_it() -> None:
    assert loadtest.cards._with_gmssl(1, 2, 1)["tap_fdda_sm2"] > 0
