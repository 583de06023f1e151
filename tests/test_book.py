"""The book: every story passes, every rule has one, and nothing that is told of them holds a card number or a PIN."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scenarios.story.coverage import coverage
from scenarios.story.junit import said, write_junit
from scenarios.story.reading import found_stories, read_story
from scenarios.story.report import page
from scenarios.story.requirements import BOOK, read_requirements
from scenarios.story.result import Run, StoryResult, Verdict
from scenarios.story.run import evidence, play_path, run_paths
from scenarios.world.cli import scenario
from switch.issuer.portfolio import STANDARD_ISSUERS

DOCS = Path(__file__).parent.parent / "docs"
STANDARDS = re.compile(r"EMV Book [134] ?[0-9.]*(?:Annex [A-Z])?|JR/T 0025\.[0-9]+|Q/CUP 006\.[1-5]")
STORIES = found_stories([BOOK])
BINS = "|".join(prefix for issuer in STANDARD_ISSUERS for prefix in issuer.bins)
WHOLE_NUMBER = re.compile(rf"(?<![0-9A-F])(?:{BINS})[0-9]{{8,13}}(?![0-9A-F])")
"""A card number of the invented issuers with nothing hidden."""


@pytest.fixture(scope="module")
def played() -> dict[str, StoryResult]:
    """All stories, played once in this process."""
    return {story.path: story for story in run_paths([BOOK]).stories}


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_passes(path: Path, played: dict[str, StoryResult]) -> None:
    story = played[str(path)]
    assert story.verdict is Verdict.PASSED, [story.reason, *map(said, story.findings)]
    assert story.checked > 0


def test_ids_chapters_and_files_agree() -> None:
    stories = [read_story(path) for path in STORIES]
    ids = [story.id for story in stories]
    assert len(ids) == len(set(ids))
    rules = read_requirements().rules
    for story in stories:
        assert story.chapter == Path(story.path).parent.name
        assert Path(story.path).name.startswith(f"{story.id}-"), story.path
        assert set(story.rules) <= set(rules), story.id
        assert rules[story.rules[0]].chapter == story.chapter, story.id
        assert story.title.zh != story.title.en, story.id


def test_a_rule_says_where_it_comes_from() -> None:
    for rule in read_requirements().rules.values():
        if rule.source == "practice" or STANDARDS.fullmatch(rule.source):
            continue
        name, section = rule.source.split(" ", 1)
        headings = re.findall(r"^## (.+)$", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.MULTILINE)
        wanted = (f"{section}. ", f"{section} (") if section.isdecimal() else (section,)
        assert any(heading.startswith(wanted) for heading in headings), f"{rule.id}: {rule.source}"


def test_every_rule_is_proven(played: dict[str, StoryResult]) -> None:
    run = Run(evidence([], datetime.now(UTC)), tuple(played.values()))
    found = coverage(run, read_requirements())
    assert found.unknown == []
    assert [rule.id for rule in found.requirements.rules.values() if rule not in found.proven] == []


def test_a_story_plays_the_same_twice(played: dict[str, StoryResult]) -> None:
    path = BOOK / "reversals" / "RV-001-no-answer.yaml"
    again, first = play_path(path), played[str(path)]
    assert again.passings == first.passings
    assert (again.receipts, again.cells, again.virtual_s) == (first.receipts, first.cells, first.virtual_s)


def test_reports_hold_no_card_number(played: dict[str, StoryResult], tmp_path: Path) -> None:
    run = Run(evidence([], datetime.now(UTC)), tuple(played.values()))
    book = read_requirements()
    for text in (page(run, "zh", book), page(run, "en", book)):
        assert not WHOLE_NUMBER.search(text)
        assert "621214*****" in text or "620100*****" in text
    failed = tuple(
        StoryResult(s.id, s.title, s.chapter, s.rules, s.path, Verdict.FAILED, passings=s.passings) for s in run.stories
    )
    told = write_junit(Run(run.evidence, failed), tmp_path / "junit.xml").read_text(encoding="utf-8")
    assert not WHOLE_NUMBER.search(told)
    assert told.count("<system-out>") == len(run.stories)


def test_the_command_holds_the_rules_to_a_floor(tmp_path: Path) -> None:
    (tmp_path / "requirements.yaml").write_text(
        "entry:\n  zh: 入网\n  en: entry\n  rules:\n"
        "    NE-1: {zh: 签到, en: sign-in, source: practice}\n    NE-2: {zh: 无, en: none, source: practice}\n",
        encoding="utf-8",
    )
    story = (BOOK / "entry" / "NE-001-sign-in.yaml").read_text(encoding="utf-8")
    (tmp_path / "NE-001.yaml").write_text(story, encoding="utf-8")
    out = tmp_path / "grids.json"
    asked = ["coverage", str(tmp_path), "--json", str(out), "--floor"]
    assert CliRunner().invoke(scenario, [*asked, "50%"]).exit_code == 0
    under = CliRunner().invoke(scenario, [*asked, "51%"])
    assert under.exit_code == 4
    assert "under the floor of 51 %" in under.output
    grids = json.loads(out.read_text(encoding="utf-8"))
    assert (grids["percent"], grids["without_story"]) == (50.0, ["NE-2"])
    assert grids["cells"] == [
        {
            "mti": "0800", "processing_code": "60.3=003", "entry_mode": "", "response": "00", "fault": "", "stories": 1,
        }
    ]  # fmt: skip
