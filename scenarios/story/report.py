"""The report of a run as one self-contained page, Chinese or English: no script, nothing loaded from elsewhere.

Stories that passed are folded up; what went wrong comes first.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from scenarios.story.junit import evidence_lines
from scenarios.story.ladder import TIME, draw
from scenarios.story.requirements import BOOK, FILE, Requirements, read_requirements
from scenarios.story.result import Run, StoryResult, Verdict

WORDS: Final[dict[str, tuple[str, str]]] = {
    "title": ("受理测试报告", "Report of stories"),
    "passed": ("通过", "passed"),
    "failed": ("未通过", "failed"),
    "stuck": ("超时未完", "stuck"),
    "broken": ("用例有误", "broken"),
    "not run": ("未执行", "not run"),
    "all_passed": ("全部通过", "all passed"),
    "evidence": ("证据", "Evidence"),
    "seed": ("随机种子", "seed"),
    "stage": ("执行环境", "stage"),
    "host": ("被测主机", "host"),
    "started": ("开始时间", "started"),
    "configuration_hash": ("配置摘要", "configuration hash"),
    "versions": ("版本", "versions"),
    "chapters": ("章节", "Chapters"),
    "chapter": ("章节", "chapter"),
    "stories": ("用例", "stories"),
    "rules": ("规则", "rules"),
    "seconds": ("用时（秒）", "seconds"),
    "virtual": ("虚拟时间", "virtual time"),
    "what_failed": ("未通过的用例", "What did not pass"),
    "step": ("步骤", "step"),
    "line": ("行", "line"),
    "where": ("位置", "where"),
    "expected": ("期望", "expected"),
    "found": ("实际", "found"),
    "receipts": ("签购单", "receipts"),
    "messages": ("报文", "messages"),
    "checked": ("检查项", "expectations"),
    "not_seen": ("此环境无法检查", "cannot be looked at on this stage"),
    "file": ("文件", "file"),
}
"""What the page says, by key: Chinese and English."""

ACTOR_WORDS: Final[dict[str, tuple[str, str]]] = {
    "card": ("卡片", "card"),
    "terminal": ("终端", "terminal"),
    "switch": ("收单前置", "switch"),
    "cups": ("银联中心", "centre"),
    "core": ("行内核心", "core"),
    "store-and-forward": ("存储转发", "store and forward"),
    "clearing": ("清算", "clearing"),
}
"""The columns of a ladder."""

BAD: Final = (Verdict.FAILED, Verdict.STUCK, Verdict.BROKEN)


class Line(NamedTuple):
    """A chapter's line in the table: counts of stories and of rules they name."""

    name: str
    title: str
    stories: int
    passed: int
    bad: int
    not_run: int
    rules: int
    seconds: float


def chapter_lines(run: Run, titles: Mapping[str, str]) -> list[Line]:
    """The table of chapters, in the order of the run."""
    lines = []
    for name in dict.fromkeys(story.chapter for story in run.stories):
        them = [story for story in run.stories if story.chapter == name]
        lines.append(
            Line(
                name,
                titles.get(name, name),
                len(them),
                sum(story.verdict is Verdict.PASSED for story in them),
                sum(story.verdict in BAD for story in them),
                sum(story.verdict is Verdict.NOT_RUN for story in them),
                len({rule for story in them for rule in story.rules}),
                sum(story.seconds for story in them),
            )
        )
    return lines


def page(run: Run, language: str = "zh", requirements: Requirements | None = None) -> str:
    """The page's text. `language` is "zh" or "en"; rules' words come from `requirements`, if there are any."""
    which = 0 if language == "zh" else 1

    def word(key: str) -> str:
        return WORDS[key][which]

    known = requirements or Requirements({}, {})
    environment = Environment(
        loader=PackageLoader("scenarios", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["actor"] = lambda name: ACTOR_WORDS[name][which] if name in ACTOR_WORDS else name
    environment.filters["said"] = lambda title: title[which]
    titles = {name: (chapter.zh, chapter.en)[which] for name, chapter in known.chapters.items()}
    lines = chapter_lines(run, titles)
    return environment.get_template("story.html").render(
        language=language,
        word=word,
        run=run,
        evidence=[(word(name), value) for name, value in _evidence(run)],
        chapters=lines,
        sections=[(line, [story for story in run.stories if story.chapter == line.name]) for line in lines],
        bad=[story for story in run.stories if story.verdict in BAD],
        not_run=run.count(Verdict.NOT_RUN),
        rule={key: (rule.zh, rule.en)[which] for key, rule in known.rules.items()},
        draw=_drawn,
        left=TIME,
    )


def write_report(run: Run, path: Path, language: str = "zh") -> Path:
    """Write the page beside nothing else; rules are told in the words of the book's requirements."""
    requirements = read_requirements() if (BOOK / FILE).is_file() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(run, language, requirements), encoding="utf-8")
    return path


def _evidence(run: Run) -> list[tuple[str, str]]:
    """The evidence, all versions in one line."""
    lines = [line for line in evidence_lines(run.evidence) if not line[0].startswith("version.")]
    return [*lines, ("versions", ", ".join(f"{name} {which}" for name, which in run.evidence.versions.items()))]


def _drawn(story: StoryResult) -> Any:
    return draw(story.passings) if story.passings else None
