"""Reports of stories: JUnit XML, the page, the ladder, the grids of coverage. What came of a run is given as data."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest
from rich.console import Console

from scenarios.story import coverage, grids, junit, ladder, report
from scenarios.story.requirements import Chapter, Requirements, RequirementsError, Rule, read_requirements
from scenarios.story.result import Cell, Evidence, Finding, Passing, Run, StoryResult, Title, Verdict

SALE = "10000001/000001/000007"
VOID = "10000001/000001/000008"
PASSINGS = (
    Passing(0.0, "terminal", "card", "apdu", SALE, "SELECT", ("00A4",)),
    Passing(0.02, "card", "terminal", "apdu", SALE, "9000"),
    Passing(0.5, "terminal", "switch", "message", SALE, "0200 sale", ("DE2 621214*********0012", "DE4 000000001200")),
    Passing(0.51, "switch", "cups", "message", SALE, "0200 sale", ("DE4 000000001200",)),
    Passing(0.52, "switch", "clearing", "row", SALE, "sent"),
    Passing(0.6, "cups", "cups", "fault", "", "drops the 0210"),
    Passing(9.0, "terminal", "switch", "message", VOID, "0200 void of a sale that has a very long name indeed"),
)
EVIDENCE = Evidence(7, {"python": "3.11.2", "shoudan": "0.1.0"}, "5eed", "2026-11-22T04:00:00+00:00", host="")
GOOD = StoryResult(
    "NE-001", Title("签到", "Sign-in"), "entry", ("NE-1",), "book/entry/NE-001.yaml", Verdict.PASSED, passings=PASSINGS,
    receipts=("签购单 <1>",), seconds=0.25, virtual_s=12.5, cells=(Cell("0200", "000000", "021", "00", ""),), checked=4,
)  # fmt: skip
BAD = StoryResult(
    "NE-002", Title("消费", "Sale"), "entry", ("NE-1", "NE-2"), "book/entry/NE-002.yaml", Verdict.FAILED,
    (Finding(2, 14, "expect.answer", "00", "51\x0c", "no funds"),), PASSINGS,
    cells=(Cell("0200", "000000", "021", "51", "drop"), Cell("0200", "000000", "021", "51", "drop")),
)  # fmt: skip
STUCK = StoryResult("RV-001", Title("卡住", "Stuck"), "reversals", (), "b.yaml", Verdict.STUCK, reason="600 s are over")
BROKEN = StoryResult("RV-002", Title("坏", "Broken"), "reversals", (), "c.yaml", Verdict.BROKEN, reason="no card")
LEFT = StoryResult("RV-003", Title("略", "Left"), "reversals", ("XX-9",), "d.yaml", Verdict.NOT_RUN, reason="not live")
RUN = Run(EVIDENCE, (GOOD, BAD, STUCK, BROKEN, LEFT))
BOOK = Requirements(
    {"entry": Chapter("entry", "入网", "Network entry")},
    {name: Rule(name, "entry", f"规则{name}", f"rule {name}", "practice") for name in ("NE-1", "NE-2", "NE-3")},
)


def suites(path: Path) -> list[Tree.Element]:
    return list(Tree.parse(junit.write_junit(RUN, path / "out" / "junit.xml", "en")).getroot())


def test_a_suite_is_a_chapter_and_counts_what_ended_how(tmp_path: Path) -> None:
    entry, reversals = suites(tmp_path)
    assert entry.get("name") == "entry"
    assert [entry.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["2", "1", "0", "0"]
    assert [reversals.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["3", "1", "1", "1"]
    told = {one.get("name"): one.get("value") for one in entry.findall("properties/property")}
    assert told["seed"] == "7"
    assert told["configuration_hash"] == "5eed"
    assert told["version.python"] == "3.11.2"
    assert "host" not in told


def test_a_failure_says_step_line_and_both_values(tmp_path: Path) -> None:
    good, bad = suites(tmp_path)[0].findall("testcase")
    assert good.get("name") == "NE-001 Sign-in"
    assert good.find("failure") is None
    assert good.find("system-out") is None
    failure = bad.find("failure")
    assert failure is not None
    assert failure.get("message") == "step 2, line 14, expect.answer: expected 00, found 51� (no funds)"
    assert [one.get("value") for one in bad.findall("properties/property[@name='rule']")] == ["NE-1", "NE-2"]
    out = bad.findtext("system-out") or ""
    assert "terminal -> switch" in out
    assert "DE2 621214*********0012" in out


def test_what_is_no_failure_of_an_expectation_is_told_apart(tmp_path: Path) -> None:
    stuck, broken, left = suites(tmp_path)[1].findall("testcase")
    assert [child.tag for case in (stuck, broken, left) for child in case if child.tag != "properties"] == [
        "failure", "error", "skipped",
    ]  # fmt: skip
    assert stuck.find("failure").get("type") == "stuck"  # type: ignore[union-attr]
    assert left.find("skipped").get("message") == "not live"  # type: ignore[union-attr]


def test_commands_to_a_card_are_one_rung() -> None:
    drawn = ladder.draw(PASSINGS)
    assert [name for name, _ in drawn.columns] == ["card", "terminal", "switch", "cups", "clearing"]
    assert [rung.title for rung in drawn.rungs][:3] == ["2 × APDU", "0200 sale", "0200 sale"]
    assert drawn.rungs[0].passing.lines == ("SELECT", "00A4", "9000")


def test_a_transaction_has_one_colour_all_the_way() -> None:
    drawn = ladder.draw(PASSINGS)
    assert [rung.colour for rung in drawn.rungs] == [0, 0, 0, 0, -1, 1]
    assert drawn.rungs[-1].title == "0200 void of a sale t…"


def test_an_arrow_points_to_where_it_goes() -> None:
    there, back = ladder.draw((PASSINGS[2], Passing(1.0, "switch", "terminal", "message", SALE, "0210 sale"))).rungs
    assert there.x1 < there.x2
    assert there.path.endswith("m-6 -4l6 4l-6 4")
    assert (back.x1, back.x2) == (there.x2, there.x1)
    assert back.path.endswith("m6 -4l-6 4l6 4")


@pytest.mark.parametrize(
    ("language", "words"), [("zh", ("未通过", "收单前置", "规则NE-1")), ("en", ("failed", "centre", "rule NE-1"))]
)
def test_the_page_speaks_either_language(language: str, words: tuple[str, ...]) -> None:
    page = report.page(RUN, language, BOOK)
    for word in (*words, "5eed", "no funds", "600 s are over", "签购单 &lt;1&gt;", "drops the 0210"):
        assert word in page, word
    assert f'<html lang="{language}">' in page


def test_the_page_needs_nothing_but_itself() -> None:
    page = report.page(RUN, "en", BOOK)
    assert "<script" not in page
    assert "http" not in page
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page, target


def test_what_passed_is_folded_up() -> None:
    page = report.page(RUN, "en", BOOK)
    assert re.search(r'id="NE-001">', page)
    assert re.search(r'id="NE-002" open>', page)
    assert page.count("<svg") == 2


def test_chapters_count_stories_and_rules() -> None:
    entry, reversals = report.chapter_lines(RUN, {"entry": "Network entry"})
    assert entry[:7] == ("entry", "Network entry", 2, 1, 1, 0, 2)
    assert reversals[:7] == ("reversals", "reversals", 3, 0, 2, 1, 1)


def test_only_a_story_that_passed_proves_a_rule() -> None:
    found = coverage.coverage(RUN, BOOK)
    assert [rule.id for rule in found.proven] == ["NE-1"]
    assert [rule.id for rule in found.bare] == ["NE-3"]
    assert found.unknown == ["XX-9"]
    assert found.percent == pytest.approx(100 / 3)
    assert found.as_dict()["by_rule"]["NE-2"] == {"NE-002": "failed"}


def test_cells_count_stories() -> None:
    found = coverage.coverage(RUN, BOOK)
    assert found.cells[Cell("0200", "000000", "021", "51", "drop")] == 1
    assert "sale" not in found.untouched
    assert "refund" in found.untouched
    assert "script_notice" in found.untouched
    assert found.as_dict()["cells"][0] == {
        "mti": "0200", "processing_code": "000000", "entry_mode": "021", "response": "00", "fault": "", "stories": 1,
    }  # fmt: skip


def test_the_grids_name_what_is_missing() -> None:
    out = io.StringIO()
    grids.show(coverage.coverage(RUN, BOOK), Console(file=out, width=200))
    told = out.getvalue()
    assert "1 of 3 rules proven" in told
    assert re.search(r"NE-3 +rule NE-3 +-", told)
    assert re.search(r"0200 +000000 +021 +00:1 51:1 +drop:1", told)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("entry: {zh: 入, en: in, rules: {NE-1: {zh: 甲, en: a}}}", "1: NE-1: 'source' is missing"),
        ("entry:\n  zh: 入\n  en: in\n  rules: {NE-1: {zh: 甲, en: a, source: p, x: 1}}", "4: NE-1: unknown key 'x'"),
        ("a: {zh: 甲, en: a, rules: {R-1: {zh: 甲, en: a, source: p}}}\n"
         "b: {zh: 乙, en: b, rules: {R-1: {zh: 甲, en: a, source: p}}}", "2: R-1 is there twice"),
        ("- 1", "1: a mapping of chapters is needed"),
    ],
)  # fmt: skip
def test_a_wrong_requirements_file_names_its_line(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequirementsError) as raised:
        read_requirements(path)
    assert str(raised.value) == f"{path}:{what}"


def test_the_book_has_its_rules() -> None:
    book = read_requirements()
    assert len(book.rules) >= 150
    assert len(book.chapters) == 13
    words = [rule.en for rule in book.rules.values()] + [rule.zh for rule in book.rules.values()]
    assert len(words) == len(set(words))
