"""A recording becomes stories that run, and that fail where what was recorded was otherwise."""

from pathlib import Path
from typing import Any

import pytest
from house import House
from recorded import a_day, assembler, overhear

from scenarios.record.pans import PanMap
from scenarios.record.story import Exchange, Head, StoryWriter
from scenarios.story.reading import read_story
from scenarios.story.recorded import stories_of, write_stories
from scenarios.story.result import Verdict
from scenarios.story.run import play_path


@pytest.fixture(scope="module")
def day() -> list[Exchange]:
    """What was overheard of a day at four terminals."""
    house = House()
    into = assembler(house, PanMap())
    found = overhear(house, into)
    a_day(house)
    return [*found, *into.end()]


def write(day: list[Exchange], path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        writer = StoryWriter(file, Head("pos", "unionpay-pos", "log"))
        for exchange in day:
            writer.write(exchange)
    return path


def test_a_recorded_day_runs_as_stories(day: list[Exchange], tmp_path: Path) -> None:
    recording = write(day, tmp_path / "day.jsonl")
    assert write_stories(recording, tmp_path / "stories") == 4
    results = [play_path(path) for path in sorted((tmp_path / "stories").iterdir())]
    told = [(one.verdict, one.reason, one.findings) for one in results if one.verdict is not Verdict.PASSED]
    assert told == []
    assert sum(one.checked for one in results) > 150
    assert {cell.response for one in results for cell in one.cells} >= {"00", "55"}


def test_the_steps_are_those_of_a_tester(day: list[Exchange], tmp_path: Path) -> None:
    write_stories(write(day, tmp_path / "day.jsonl"), tmp_path)
    story = read_story(tmp_path / "REC-001-10000001.yaml")
    assert [step["do"] for step in story.steps if step["verb"] == "do"] == [
        "sign-in", "sale", "sale", "sale-void", "preauth", "balance", "settle",
    ]  # fmt: skip
    sale, wrong, void = (step for step in story.steps if step.get("do", "").startswith("sale"))
    assert (sale["amount"], sale["pin"], sale["entry"], sale["card"]) == (12_300, "right", "stripe", "c1")
    assert (wrong["pin"], wrong["expect"]["answer"]) == ("wrong", "55")
    assert void["of"] == sale["as"]
    assert sale["expect"]["reply"][0]["de"]["37"] == "present"
    assert sale["expect"]["reply"][0]["de"]["4"] == "000000012300"
    chip = read_story(tmp_path / "REC-004-10000004.yaml")
    assert chip.cast["t1"]["terminal"] in ("tap-shop", "chip-shop")
    assert any(step.get("entry") == "chip" for step in chip.steps)
    text = (tmp_path / "REC-001-10000001.yaml").read_text(encoding="utf-8")
    assert "6201000000000" not in text


def test_what_was_otherwise_then_is_found_now(day: list[Exchange], tmp_path: Path) -> None:
    [text] = [one for name, one in stories_of(day, "a log").items() if name.startswith("REC-001")]
    path = tmp_path / "a.yaml"
    path.write_text(text.replace('"4": "000000012300"', '"4": "000000012301"', 1), encoding="utf-8")
    result = play_path(path)
    assert [(one.path, one.actual) for one in result.findings] == [("expect.reply.de.4", "000000012300")]


def test_a_hosts_refusal_becomes_a_rule_and_silence_a_fault(day: list[Exchange], tmp_path: Path) -> None:
    def changed(exchange: Exchange, n: int) -> Any:
        from copy import deepcopy

        one = deepcopy(exchange)
        if n == 1 and one.reply is not None:
            one.reply.fields = {de: value for de, value in one.reply.fields.items() if de in (3, 11, 39, 41, 42)}
            one.reply.fields[39] = "51"
        elif n == 2:
            one.reply = None
        return one

    first = [one for one in day if one.request.fields[41] == "10000001"][:3]
    [text] = stories_of([changed(one, n) for n, one in enumerate(first)], "a log").values()
    assert '- rules: {"cups": [{"action": "code", "code": "51", "times": 1}]' in text
    assert 'faults: {"on": "t1", "what": "drop", "which": {"mti": "0210"}}' in text
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    result = play_path(path)
    assert (result.verdict, result.reason, result.findings) == (Verdict.PASSED, "", ())
