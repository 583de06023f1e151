"""`shoudan bench codec`: both codecs do the same work, the figures have their shape; speed itself is no test here."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loadtest.bench.codec import NETWORK_PURCHASE, POS_SALE, REQUIRED, bench_codec
from loadtest.cli import register

app = typer.Typer()
app.callback()(lambda: None)
register(app)
RUNNER = CliRunner()


def test_the_figures() -> None:
    figures = bench_codec(rounds=3, loops=30)
    assert set(figures["dialects"]) == {"pos", "network"}
    assert (figures["dialects"]["pos"]["fields"], len(POS_SALE)) == (17, 17)
    for task in REQUIRED:
        ratios = [dialect[task] for dialect in figures["dialects"].values()]
        assert figures[task] == min(ratios)
        # far below what is asked for, far above what a codec that has lost its compiled functions would reach
        assert min(ratios) > 3
        for dialect in figures["dialects"].values():
            times = dialect["us"][task]
            assert dialect[task] == pytest.approx(times["pyiso8583"] / times["shoudan"], rel=0.02)


def test_results_are_compared_before_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORK_PURCHASE, 35, "6212140000000000030=2912")
    monkeypatch.setattr("loadtest.bench.codec.iso8583.decode", lambda body, spec: ({"t": "0200"}, {}))
    with pytest.raises(RuntimeError, match="pos"):
        bench_codec(rounds=3, loops=1)


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    shown = RUNNER.invoke(app, ["bench", "codec", "--rounds", "3", "--json", str(file)], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "pyiso8583" in shown.stdout
    assert set(REQUIRED) <= set(json.loads(file.read_text()))
    piped = RUNNER.invoke(app, ["bench", "codec", "--rounds", "3", "--json", "-"], catch_exceptions=False)
    assert json.loads(piped.stdout)["decode"] > 0
