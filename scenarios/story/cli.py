"""`shoudan scenario run` and `schema`: stories played, and what came of them on screen and in files."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from scenarios.sandwich.ground import read as read_ground
from scenarios.story import grids
from scenarios.story.junit import write_junit
from scenarios.story.live import Wardrobe, preflight
from scenarios.story.reading import read_story
from scenarios.story.report import write_report
from scenarios.story.result import Run, StoryResult, Verdict
from scenarios.story.run import NOT_MARKED, evidence, play, play_path, run_live, run_paths, run_sandwiched, yes
from scenarios.story.schema import json_schema
from scenarios.story.serve import Prompter, hosted, server
from scenarios.story.shape import BadStory
from switch.app.config import ConfigError, host_and_port, pos_profile
from switch.wire.table import TableError
from terminals.cli import transport_keys, write_json
from terminals.own import own_cards, own_terminals

FAILED, BAD_STORY, COULD_NOT_RUN = 1, 2, 3
_COLOURS: Final = {
    Verdict.PASSED: "green", Verdict.FAILED: "red", Verdict.STUCK: "red", Verdict.BROKEN: "magenta",
    Verdict.NOT_RUN: "yellow",
}  # fmt: skip
_WORDS: Final = {
    Verdict.PASSED: ("通过", "passed"), Verdict.FAILED: ("失败", "failed"), Verdict.STUCK: ("卡住", "stuck"),
    Verdict.BROKEN: ("案例有误", "bad story"), Verdict.NOT_RUN: ("未运行", "not run"),
}  # fmt: skip
LANGUAGES: Final = ("zh", "en")

Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Story files, or directories of them.")]
JsonTo = Annotated[str, typer.Option("--json", metavar="FILE|-", help="Write the results as JSON.")]
JunitTo = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")]
HtmlTo = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report that needs no other file.")]
Lang = Annotated[str, typer.Option(metavar="zh|en", help="Language of screen and reports.")]
Only = Annotated[list[str], typer.Option(metavar="ID", help="Only the story of this id (repeat it).")]


def run(
    paths: Paths,
    only: Only = [],  # noqa: B006
    live: Annotated[str, typer.Option(metavar="HOST:PORT", help="Play the stories' terminals against this host.")] = "",
    profile: Annotated[str, typer.Option(metavar="NAME|FILE", help="--live: how the host speaks.")] = "unionpay-pos",
    terminals: Annotated[
        Path | None, typer.Option(metavar="FILE", help="--live: terminals.csv, the terminals the host knows.")
    ] = None,
    kek_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="--live: transport keys; else from the environment.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="--live: the cards of a demo day's seed.")] = None,
    cards: Annotated[Path | None, typer.Option(metavar="FILE", help="--live: cards.csv, the user's cards.")] = None,
    pin_file: Annotated[Path | None, typer.Option(metavar="FILE", help="--live: their PINs (pan, pin).")] = None,
    scale: Annotated[float, typer.Option(min=0.01, help="--live: waits are so many times as short.")] = 1.0,
    sandwich: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Around a switch: the ground of `shoudan sandwich --prepare`."),
    ] = None,
    host_answers_00: Annotated[
        bool,
        typer.Option("--host-answers-00", help="In the house, but its switch approves everything."),
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="How many processes share the stories.")] = 1,
    json_to: JsonTo = "",
    junit: JunitTo = None,
    html: HtmlTo = None,
    lang: Lang = "zh",
) -> None:
    """Play stories (案例): in the virtual house, each in a house and on a clock of its own, or against a host.

    With --sandwich the switch in the middle is somebody else's: terminals, network and core are the house's. With
    --live only stories marked `live: true` are played, and what cannot be seen from the terminals' side is not
    judged. Exits 0 when all passed, 1 with an expectation that was not met, 2 for a bad story, 3 when it could not run.
    """
    if lang not in LANGUAGES:
        raise ConfigError(f"--lang {lang}: {' or '.join(LANGUAGES)}")
    console = Console(stderr=json_to == "-", highlight=False, soft_wrap=True)
    shown = Shown(console, lang)
    try:
        if sandwich is not None:
            found = run_sandwiched(paths, read_ground(sandwich), only, shown.one)
        elif live:
            wardrobe = _wardrobe(live, profile, terminals, kek_file, seed, cards, pin_file, scale)
            why = preflight(wardrobe)
            if why:
                console.print(f"shoudan: {why}", style="red", markup=False)
                raise typer.Exit(COULD_NOT_RUN)
            found = run_live(paths, wardrobe, only, shown.one)
        else:
            one = partial(play_path, make=yes, name="host answers 00") if host_answers_00 else play_path
            found = run_paths(paths, processes, only, shown.one, one)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {(error.strerror or '').lower()}") from None
    except TableError as error:
        raise ConfigError(str(error)) from None
    if not found.stories:
        raise ConfigError("no story there" + (f" with the id {', '.join(only)}" if only else ""))
    raise typer.Exit(finish(found, console, lang, json_to, junit, html))


def serve(
    path: Annotated[Path, typer.Argument(metavar="STORY", help="What is to be done at the terminals.")],
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the terminals connect.")] = "127.0.0.1:8583",
    terminals: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="terminals.csv: the real terminals; else invented ones."),
    ] = None,
    kek_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Transport keys of master keys; else from the environment."),
    ] = None,
    json_to: JsonTo = "",
    junit: JunitTo = None,
    html: HtmlTo = None,
    lang: Lang = "zh",
) -> None:
    """Be the host (挡板) of real terminals in the sense of a story: its rules and faults, its switch, network and core.

    Each step is told, waited for and judged as it arrives. Exits as `run` does.
    """
    console = Console(stderr=json_to == "-", highlight=False, soft_wrap=True)
    address = host_and_port(listen)
    try:
        story = read_story(path)
        own = (
            own_terminals(terminals, transport_keys(kek_file), pos_profile("unionpay-pos", Path.cwd()).suites)
            if terminals
            else []
        )
        make = server(address, lambda words: console.print(f"-> {words}", markup=False), partial(hosted, own))
        console.print(f"{story.id}: listening on {listen}", markup=False)
        result = play(story, make, "serve", Prompter)
    except (BadStory, TableError) as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        console.print(f"shoudan: {error.filename or listen}: {error.strerror}", style="red", markup=False)
        raise typer.Exit(COULD_NOT_RUN) from None
    Shown(console, lang).one(result)
    found = Run(evidence([path], datetime.now(UTC), "serve", listen), (result,))
    raise typer.Exit(finish(found, console, lang, json_to, junit, html))


def _wardrobe(
    live: str, profile: str, terminals: Path | None, kek_file: Path | None, seed: int | None, cards: Path | None,
    pin_file: Path | None, scale: float,
) -> Wardrobe:  # fmt: skip
    if terminals is None:
        raise ConfigError("--live: which terminals does the host know? (--terminals FILE)")
    if (seed is None) == (cards is None):
        raise ConfigError("--live: either --seed or --cards says which cards there are")
    host, port = host_and_port(live)
    spoken = pos_profile(profile, Path.cwd())
    own = own_terminals(terminals, transport_keys(kek_file), spoken.suites)
    rows = own_cards(cards, pin_file) if cards is not None else ()
    return Wardrobe(host, port, spoken, own, seed, rows, scale)


def finish(
    found: Run, console: Console, lang: str, json_to: str = "", junit: Path | None = None, html: Path | None = None
) -> int:
    """Show the table, write the files; the exit code."""
    console.print(summary(found, lang))
    try:
        if junit is not None:
            write_junit(found, junit, lang)
        if html is not None:
            write_report(found, html, lang)
        write_json(as_dict(found), json_to)
    except OSError as error:
        console.print(f"shoudan: {error.filename}: {error.strerror}", style="red", markup=False)
        return COULD_NOT_RUN
    return exit_code(found)


def exit_code(found: Run) -> int:
    """0 all passed, 1 a failure, 2 a bad story, 3 something could not run."""
    for verdict, code in ((Verdict.BROKEN, BAD_STORY), (Verdict.FAILED, FAILED), (Verdict.STUCK, FAILED)):
        if found.count(verdict):
            return code
    return COULD_NOT_RUN if found.count(Verdict.NOT_RUN) == len(found.stories) else 0


class Shown:
    """Stories on the screen as they end: those that failed, with every difference."""

    def __init__(self, console: Console, lang: str) -> None:
        self._console = console
        self._lang = lang

    def one(self, result: StoryResult) -> None:
        """One story has ended."""
        if result.verdict is Verdict.PASSED or result.reason == NOT_MARKED:
            return
        zh = self._lang == "zh"
        word = _WORDS[result.verdict][0 if zh else 1]
        title = result.title.zh if zh else result.title.en
        self._console.print(f"[{_COLOURS[result.verdict]}]{word}[/] {result.id} ", end="")
        self._console.print(title, markup=False)
        if result.reason:
            self._console.print(f"  {result.reason}", markup=False)
        for one in result.findings:
            expected, actual = ("期望", "实际") if zh else ("expected", "actual")
            self._console.print(
                f"  {result.path}:{one.line}: {one.path}: {expected} {one.expected}, {actual} {one.actual}",
                markup=False,
            )
            if one.hint:
                self._console.print(f"    {one.hint}", markup=False)


def summary(found: Run, lang: str) -> Table:
    """A table of chapters."""
    zh = lang == "zh"
    zh_heads = ("章", "案例", "通过", "失败", "未运行", "秒")
    heads = zh_heads if zh else ("chapter", "stories", "passed", "failed", "not run", "seconds")
    table = Table(box=None, padding=(0, 2))
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if not place else "right")
    chapters: dict[str, list[StoryResult]] = {}
    for story in found.stories:
        chapters.setdefault(story.chapter, []).append(story)
    for chapter, stories in chapters.items():
        table.add_row(chapter, *_figures(stories))
    if len(chapters) > 1:
        table.add_row("合计" if zh else "all", *_figures(found.stories), style="bold")
    return table


def _figures(stories: Sequence[StoryResult]) -> tuple[str, ...]:
    passed = sum(story.verdict is Verdict.PASSED for story in stories)
    left = sum(story.verdict is Verdict.NOT_RUN for story in stories)
    others = len(stories) - passed - left
    seconds = f"{sum(story.seconds for story in stories):.2f}"
    return str(len(stories)), str(passed), f"[red]{others}[/]" if others else "0", str(left), seconds


def as_dict(found: Run) -> dict[str, Any]:
    """For --json: `stories`, `passed`, `failed`, `seconds`, and the evidence."""
    evidence = found.evidence
    return {
        "passed": found.passed, "failed": found.failed, "broken": found.count(Verdict.BROKEN),
        "not_run": found.count(Verdict.NOT_RUN), "seconds": round(found.seconds, 3),
        "evidence": {name: getattr(evidence, name) for name in evidence.__slots__},
        "stories": [_story_dict(story) for story in found.stories],
    }  # fmt: skip


def _story_dict(story: StoryResult) -> dict[str, Any]:
    return {
        "id": story.id, "title": story.title._asdict(), "chapter": story.chapter, "rules": list(story.rules),
        "path": story.path, "verdict": str(story.verdict), "stage": story.stage, "reason": story.reason,
        "seconds": round(story.seconds, 4), "virtual_s": story.virtual_s, "checked": story.checked,
        "not_seen": list(story.not_seen),
        "findings": [{name: getattr(one, name) for name in one.__slots__} for one in story.findings],
    }  # fmt: skip


def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where it goes; else to stdout.")] = None,
) -> None:
    """Write the JSON Schema of story files, for editors (yaml-language-server and others)."""
    text = json_schema()
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


def register(group: typer.Typer) -> None:
    """Add the stories' commands to the group `shoudan scenario`."""
    commands: dict[str, Callable[..., None]] = {"run": run, "serve": serve, "schema": schema, "coverage": grids.command}
    for name, command in commands.items():
        group.command(name)(command)
