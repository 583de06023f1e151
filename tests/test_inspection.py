"""The self-inspection of a fleet: what is planted is found, each as one defect with its evidence."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scenarios.inspection.checks import CHECKS
from scenarios.inspection.example import write_example
from scenarios.inspection.fleet import Inspected, read_fleet
from scenarios.inspection.judge import BENCHMARK, Inspection, inspect
from scenarios.world.cli import scenario
from switch.app.config import ConfigError
from switch.wire.table import TableError

DAY = "261122"
HEAD = "tid,mid,merchant_name,mcc,model,capabilities,district,topology,suite,kind,found"
WHOLE = "stripe+contact+contactless"


def fleet(path: Path, *rows: str) -> list[Inspected]:
    """Terminals of one merchant: each row gives model, capabilities, suite, kind and what was found."""
    file = path / "fleet.csv"
    lines = [
        f"1000{n:04d},999290054110001,小店,5411,{model},{reads},江南区,direct,{suite},{kind},{found}"
        for n, (model, reads, suite, kind, found) in enumerate((row.split(",") for row in rows), 1)
    ]
    file.write_text("\n".join((HEAD, *lines)) + "\n", encoding="utf-8")
    return read_fleet(file)


def named(inspection: Inspection) -> list[str]:
    return [defect.check.name for defect in inspection.defects]


@pytest.mark.parametrize(
    ("found", "check", "evidence"),
    [
        ("slot=dead", "contact", "does not answer"),
        ("tac_denial=FFFFFFFFFF", "contact", "terminal_declined"),
        ("ca_keys=false", "oda", "CDA failed"),
        ("e_cash_minor=0", "e-cash", "online;"),
        ("sm=false", "sm", "terminal_declined"),
        ("field=dead", "field", "does not answer"),
        ("tap_floor_minor=1", "quick", "online;"),
        ("small=off", "no-pin", "asked: pin"),
        ("small_max_minor=5000000", "pin", "asked: nothing"),
        ("stripe=takes", "stripe", "accept"),
    ],
)
def test_one_thing_wrong_is_one_defect(tmp_path: Path, found: str, check: str, evidence: str) -> None:
    inspection = inspect(fleet(tmp_path, f"S3,{WHOLE},sm4,pos,{found}"), DAY)
    assert named(inspection) == [check]
    assert evidence in inspection.defects[0].seen.en


@pytest.mark.parametrize(
    ("row", "checks"),
    [
        (f"S3,{WHOLE},3des,,", ["contact", "oda", "e-cash", "field", "quick", "no-pin", "pin", "stripe"]),
        (f"S3,{WHOLE},sm4,,", ["contact", "oda", "e-cash", "sm", "field", "quick", "no-pin", "pin", "stripe"]),
        ("D2,stripe+contact,3des,,", ["contact", "oda", "e-cash", "stripe"]),
        ("D1,stripe,3des,,", []),
        (f"CRS,{WHOLE},3des,,", ["withdrawal", "withdrawal-field", "load"]),
        ("ATM,stripe+contact,3des,,", ["withdrawal", "load"]),
        ("V1,contactless,sm4,,", ["fare", "fare-sm"]),
    ],
)
def test_what_a_good_terminal_is_shown(tmp_path: Path, row: str, checks: list[str]) -> None:
    inspection = inspect(fleet(tmp_path, row), DAY)
    assert list(inspection.results[0]) == checks
    assert named(inspection) == []


@pytest.mark.parametrize(
    ("row", "check"),
    [
        (f"ATM,{WHOLE},3des,,slot=dead", "withdrawal"),
        (f"ATM,{WHOLE},3des,,field=dead", "withdrawal-field"),
        ("V1,contactless,3des,,ca_keys=false", "fare"),
        ("V1,contactless,3des,,field=dead", "fare"),
    ],
)
def test_machines_and_validators(tmp_path: Path, row: str, check: str) -> None:
    assert named(inspect(fleet(tmp_path, row), DAY)) == [check]


def test_fifty_five_planted_are_fifty_five_found(tmp_path: Path) -> None:
    planted = write_example(tmp_path / "fleet.csv", 2000, 55, 2015)
    rows = read_fleet(tmp_path / "fleet.csv")
    told: list[int] = []
    inspection = inspect(rows, DAY, told.append)
    assert told[-1] == 2000 == len(rows)
    assert len(planted) == 55
    assert Counter(defect.terminal.tid for defect in inspection.defects) == Counter(list(planted))
    for key in (lambda one: one.district, lambda one: one.topology, lambda one: one.model):
        groups = inspection.by(key)
        assert sum(row.defects for row in groups) == 55
        assert sum(row.terminals for row in groups) == 2000
        by_hand = Counter(key(one) for one in rows if one.tid in planted)
        assert {row.name: row.defects for row in groups if row.defects} == by_hand


def test_shares_count_what_works_not_what_is_said(tmp_path: Path) -> None:
    rows = fleet(
        tmp_path, f"S3,{WHOLE},3des,,", f"S3,{WHOLE},3des,,field=dead", "D2,stripe+contact,3des,,slot=dead",
        "D1,stripe,3des,,",
    )  # fmt: skip
    (row,) = inspect(rows, DAY).kinds
    assert (row.name, row.terminals, row.defects, row.defective) == ("pos", 4, 2, 2)
    assert row.accept == {"contact": 2, "contactless": 1, "e-cash": 2, "sm": 0}
    assert row.share("contact") == 0.5
    assert BENCHMARK["pos"] == {"contact": 0.999, "contactless": 0.55}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"S3,{WHOLE},3des,till,", "line 2: kind: 'till' is none of pos, atm, crs, validator"),
        (f"S3,{WHOLE},3des,pos,slot", "line 2: found: is KEY=VALUE"),
        (f"S3,{WHOLE},3des,pos,slot=gone", "line 2: found: slot is works or dead"),
        (f"S3,{WHOLE},3des,pos,colour=red", "line 2: found: colour: no such key"),
        (f"S3,{WHOLE},3des,pos,small_max_minor=much", "line 2: found: small_max_minor is an amount"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(TableError, match=reason):
        fleet(tmp_path, row)


def test_the_command(tmp_path: Path) -> None:
    file, page, figures = tmp_path / "fleet.csv", tmp_path / "report.html", tmp_path / "report.json"
    runner = CliRunner()
    made = runner.invoke(scenario, ["inspect", "--example", str(file), "--terminals", "60", "--defects", "5"])
    assert (made.exit_code, "60 terminals, 5 of them" in made.output) == (0, True)
    order = ["inspect", "--fleet", str(file), "--date", DAY]
    done = runner.invoke(scenario, [*order, "--html", str(page), "--json", str(figures)])
    assert done.exit_code == 1
    assert "60 terminals 终端, 5 defects 缺陷" in done.output
    told = json.loads(figures.read_text(encoding="utf-8"))
    assert (told["terminals"], told["defects"], len(told["found"])) == (60, 5, 5)
    text = page.read_text(encoding="utf-8")
    assert "5 项缺陷" in text
    assert all(one["tid"] in text for one in told["found"])
    with file.open(encoding="utf-8") as rows:
        found = {
            row["tid"]: row["line"] for row in ({**row, "line": n} for n, row in enumerate(csv.DictReader(rows), 2))
        }
    assert all(found[one["tid"]] == one["line"] for one in told["found"])
    clean = runner.invoke(scenario, ["inspect", "--example", str(file), "--terminals", "60", "--defects", "0"])
    assert clean.exit_code == 0
    assert runner.invoke(scenario, order).exit_code == 0
    crowded = runner.invoke(scenario, ["inspect", "--example", str(file), "--terminals", "20", "--defects", "20"])
    assert (crowded.exit_code, "no room for 20 defects" in crowded.output) == (2, True)
    assert runner.invoke(scenario, ["inspect"]).exit_code == 2
    missing = runner.invoke(scenario, ["inspect", "--fleet", str(tmp_path / "none.csv")])
    assert isinstance(missing.exception, ConfigError)
    assert str(missing.exception).endswith("none.csv: No such file or directory")


def test_checks_come_after_those_they_build_on() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for place, check in enumerate(CHECKS):
        assert set(check.after) <= set(names[:place])
