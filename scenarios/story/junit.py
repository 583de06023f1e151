"""Results as JUnit XML, the form that build servers read: a suite a chapter, a case a story."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as Tree

from scenarios.story import ladder
from scenarios.story.result import Evidence, Finding, Run, StoryResult, Verdict

UNFIT: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot carry at all."""

COUNTED: Final = {
    "failures": (Verdict.FAILED, Verdict.STUCK),
    "errors": (Verdict.BROKEN,),
    "skipped": (Verdict.NOT_RUN,),
}
"""Which verdicts the counts of a suite are of."""


def write_junit(run: Run, path: Path, language: str = "en") -> Path:
    """Write the results of a run; titles in `language`, "zh" or "en". A directory that is not there is made."""
    root = Tree.Element("testsuites", {"name": "shoudan scenario", **_counts(run.stories)})
    chapters: dict[str, list[StoryResult]] = defaultdict(list)
    for story in run.stories:
        chapters[story.chapter].append(story)
    for chapter, stories in chapters.items():
        about = {"name": _fit(chapter), "timestamp": run.evidence.started, **_counts(stories)}
        suite = Tree.SubElement(root, "testsuite", about)
        _properties(suite, evidence_lines(run.evidence))
        for story in stories:
            _case(suite, story, language)
    Tree.indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    Tree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return path


def evidence_lines(evidence: Evidence) -> list[tuple[str, str]]:
    """The evidence as names and values; versions one by one, a host only where there was one."""
    lines = [
        ("seed", str(evidence.seed)), ("stage", evidence.stage), ("host", evidence.host),
        ("started", evidence.started), ("configuration_hash", evidence.configuration_hash),
    ]  # fmt: skip
    lines += [(f"version.{name}", version) for name, version in evidence.versions.items()]
    return [(name, value) for name, value in lines if value]


def said(finding: Finding) -> str:
    """A finding as a line of text."""
    where = f"step {finding.step}, line {finding.line}, {finding.path}"
    hint = f" ({finding.hint})" if finding.hint else ""
    return f"{where}: expected {finding.expected}, found {finding.actual}{hint}"


def _fit(text: str) -> str:
    return UNFIT.sub("�", text)


def _counts(stories: "list[StoryResult] | tuple[StoryResult, ...]") -> dict[str, str]:
    counts = {name: str(sum(story.verdict in of for story in stories)) for name, of in COUNTED.items()}
    return {"tests": str(len(stories)), **counts, "time": f"{sum(story.seconds for story in stories):.3f}"}


def _properties(parent: Tree.Element, lines: list[tuple[str, str]]) -> None:
    under = Tree.SubElement(parent, "properties")
    for name, value in lines:
        Tree.SubElement(under, "property", name=name, value=_fit(value))


def _case(suite: Tree.Element, story: StoryResult, language: str) -> None:
    title = story.title.zh if language == "zh" else story.title.en
    case = Tree.SubElement(
        suite, "testcase", classname=_fit(story.chapter), name=_fit(f"{story.id} {title}"), file=_fit(story.path),
        time=f"{story.seconds:.3f}",
    )  # fmt: skip
    _properties(case, [("rule", rule) for rule in story.rules] + [("virtual_s", f"{story.virtual_s:g}")])
    findings = [said(one) for one in story.findings] + [story.reason] * bool(story.reason)
    text = _fit("\n".join(findings))
    first = _fit(findings[0]) if findings else str(story.verdict)
    match story.verdict:
        case Verdict.FAILED | Verdict.STUCK:
            Tree.SubElement(case, "failure", message=first, type=str(story.verdict)).text = text
        case Verdict.BROKEN:
            Tree.SubElement(case, "error", message=first, type=str(story.verdict)).text = text
        case Verdict.NOT_RUN:
            Tree.SubElement(case, "skipped", message=first)
    if story.verdict is not Verdict.PASSED and story.passings:
        Tree.SubElement(case, "system-out").text = _fit(ladder.told(story.passings, lines=True))
