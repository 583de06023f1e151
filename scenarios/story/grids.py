"""`shoudan scenario coverage`: the grids of coverage on the screen, and a floor to hold them to."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenarios.story.coverage import Coverage, coverage
from scenarios.story.requirements import BOOK, FILE, RequirementsError, read_requirements
from scenarios.story.result import Verdict
from scenarios.story.run import run_paths
from switch.app.config import ConfigError
from terminals.cli import write_json

BAD_STORY, UNDER_FLOOR = 2, 4
STYLES: Final = {Verdict.PASSED: "green", Verdict.NOT_RUN: "yellow"}
"""How a story's id is shown; all other verdicts are red."""


def command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Story files, or directories of them; else the book."),
    ] = None,
    floor: Annotated[str, typer.Option(metavar="N%", help="The share of rules that must be proven.")] = "",
    processes: Annotated[int, typer.Option(min=1, help="How many processes share the stories.")] = 1,
    json_to: Annotated[str, typer.Option("--json", metavar="FILE|-", help="Write the grids as JSON.")] = "",
    lang: Annotated[str, typer.Option(metavar="zh|en", help="Language of the rules.")] = "zh",
) -> None:
    """Play stories and show what they cover (覆盖率): rule x story, and MTI x processing code x entry mode x response x
    fault. A rule is proven when a story that names it has passed.

    The rules are those of requirements.yaml in the first directory given, else the book's.

    Exits 0, 4 when fewer rules are proven than --floor wants, 2 for a bad story or file.
    """
    least = _percent(floor)
    if lang not in ("zh", "en"):
        raise ConfigError(f"--lang {lang}: zh or en")
    given = paths or [BOOK]
    own = given[0] / FILE
    try:
        requirements = read_requirements(own if own.is_file() else BOOK / FILE)
        run = run_paths(given, processes)
    except RequirementsError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{error.filename}: {(error.strerror or '').lower()}") from None
    found = coverage(run, requirements)
    console = Console(stderr=json_to == "-", highlight=False, soft_wrap=True)
    show(found, console, lang)
    for story in run.stories:
        if story.verdict is Verdict.BROKEN:
            console.print(f"{story.id}: {story.reason}", style="red", markup=False)
    write_json(found.as_dict(), json_to)
    if run.count(Verdict.BROKEN):
        raise typer.Exit(BAD_STORY)
    if found.percent < least:
        console.print(f"under the floor of {least:g} % 未达下限", style="red", markup=False)
        raise typer.Exit(UNDER_FLOOR)


def _percent(text: str) -> float:
    try:
        share = float(text.removesuffix("%") or 0)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise ConfigError(f"--floor {text}: a share such as 95%")
    return share


def show(found: Coverage, console: Console, language: str = "en") -> None:
    """Both grids and what is missing."""
    console.print(rule_grid(found, language))
    console.print(cell_grid(found))
    share = f"{len(found.proven)} of {len(found.requirements.rules)} rules proven 规则覆盖 ({found.percent:.1f} %)"
    console.print(share, markup=False)
    for title, names in (
        ("rules without a story 无用例的规则", [rule.id for rule in found.bare]),
        ("named by stories, not in the book 规则表中没有", found.unknown),
        ("transactions nobody asked for 未覆盖的交易", found.untouched),
    ):
        if names:
            console.print(f"{title}: {' '.join(names)}", markup=False)


def rule_grid(found: Coverage, language: str) -> Table:
    """Rule x story."""
    grid = Table("rule 规则", "", "stories 用例", box=None, padding=(0, 1))
    chapter = ""
    for rule in found.requirements.rules.values():
        if rule.chapter != chapter:
            chapter = rule.chapter
            words = found.requirements.chapters[chapter]
            grid.add_row(Text(chapter, "bold"), Text(words.zh if language == "zh" else words.en, "bold"), "")
        stories = found.stories[rule.id]
        names = Text(" ").join(Text(story.id, STYLES.get(story.verdict, "red")) for story in stories)
        grid.add_row(rule.id, rule.zh if language == "zh" else rule.en, names if stories else Text("-", "red"))
    return grid


def cell_grid(found: Coverage) -> Table:
    """MTI x processing code x entry mode, each with its responses and the faults at work, by count of stories."""
    responses: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    faults: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for cell, count in found.cells.items():
        responses[cell[:3]][cell.response] += count
        if cell.fault:
            faults[cell[:3]][cell.fault] += count
    grid = Table("MTI", "DE3", "DE22", "DE39 应答码", "faults 故障", box=None, padding=(0, 1))
    for key in sorted(responses):
        grid.add_row(*(part or "-" for part in key), _counts(responses[key]), _counts(faults[key]))
    return grid


def _counts(counts: Counter[str]) -> str:
    return " ".join(f"{name}:{count}" for name, count in sorted(counts.items()))
