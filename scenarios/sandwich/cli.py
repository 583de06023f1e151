"""`shoudan sandwich`: somebody else's switch between our terminals and our network centre, checked field by field."""

import time
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from scenarios.sandwich.ground import OWN_SWITCH, prepare, read
from scenarios.sandwich.judge import Evidence, Finding, Judgement
from scenarios.sandwich.rules import ANSWER, COURSE_RULES, HOW, REVERSAL, table
from scenarios.sandwich.run import Order, Sandwich, SandwichFailed
from switch.app.serve import run_loop
from switch.engine.counterpart import wire_time
from switch.net.listen import CannotListen
from switch.wire.transactions import BY_NAME, ROWS
from terminals.cli import write_json

NOTHING_FOUND, FINDINGS, COULD_NOT_RUN = 0, 1, 3
DIRECTORY: Final = Path("var/sandwich")
CLEAN, BROKEN = "nothing found 未发现问题", "findings 发现问题"

Dir = Annotated[Path, typer.Option("--dir", metavar="DIR", help="The ground: keys, terminals, profiles.")]
Prepare = Annotated[
    Path | None,
    typer.Option("--prepare", metavar="DIR", help="Write a ground for the switch under test, and end."),
]
Front = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the switch under test listens for terminals.")]
Back = Annotated[
    list[str], typer.Option("--back-listen", metavar="[LINE=]HOST:PORT", help="Where it finds network and core.")
]
Terminals = Annotated[Path | None, typer.Option(metavar="FILE", help="Another terminals.csv.")]
Seconds = Annotated[float, typer.Option(min=1.0, help="How long the terminals trade.")]
Pace = Annotated[float, typer.Option(min=0.0, help="Seconds between the transactions of one terminal.")]
Wait = Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the switch to sign on.")]
Slack = Annotated[float, typer.Option(min=0.1, help="How much longer than its patience it may take to reverse.")]
Count = Annotated[int, typer.Option(min=1, max=2000, help="With --prepare: how many terminals.")]
Machines = Annotated[int, typer.Option("--atms", min=0, max=200, help="With --prepare: how many cash machines.")]
Seed = Annotated[int, typer.Option(help="With --prepare: the same seed, the same keys and cards.")]
Rules = Annotated[bool, typer.Option("--rules", help="Print the table of rules, and end.")]
JsonTo = Annotated[str, typer.Option("--json", metavar="FILE|-", help="Write everything as JSON.")]


def sandwich(
    directory: Dir = DIRECTORY,
    prepare_: Prepare = None,
    front: Front = "",
    back_listen: Back = [],  # noqa: B006
    terminals: Terminals = None,
    seconds: Seconds = 60.0,
    pace: Pace = 0.3,
    wait: Wait = 60.0,
    slack: Slack = 5.0,
    count: Count = 12,
    machines: Machines = 4,
    seed: Seed = 1,
    rules: Rules = False,
    json_to: JsonTo = "",
) -> None:
    """Test somebody else's switch: terminals in front of it, network centre and core behind it (夹心测试).

    Both sides are recorded and joined; every request is checked for what must be carried, converted, added and dropped,
    every answer for what must come back and to whom, every silence for its reversal.

    Exits 0 if nothing was found, 1 with findings, 2 for bad usage, 3 if nothing could be tested.
    """
    console = Console(stderr=json_to == "-", highlight=False)
    if rules:
        _show_rules(console, json_to)
        return
    if prepare_ is not None:
        _prepare(prepare_, seed, count, machines, front, back_listen, console)
        return
    setup = read(directory, front, back_listen, terminals)
    order = Order(seconds, pace, wait, slack)

    def tell(phase: str) -> None:
        console.print(phase, style="dim", markup=False)

    try:
        judgement = run_loop(Sandwich(setup, order, tell).run())  # type: ignore[arg-type]
    except (SandwichFailed, CannotListen) as error:
        _could_not_run(str(error))
    except KeyboardInterrupt:
        _could_not_run("interrupted")
    assert isinstance(judgement, Judgement)
    _show(judgement, console)
    write_json(as_dict(judgement), json_to)
    if not any(coverage.joined for coverage in judgement.coverage.values()) and not judgement.found:
        _could_not_run("no request came out of the switch under test")
    raise typer.Exit(FINDINGS if judgement.found else NOTHING_FOUND)


def _could_not_run(reason: str) -> NoReturn:
    Console(stderr=True, highlight=False).print(f"shoudan: {reason}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(COULD_NOT_RUN) from None


def _prepare(
    directory: Path, seed: int, count: int, machines: int, front: str, back: list[str], console: Console
) -> None:
    path = prepare(directory, seed, count, wire_time(time.time())[:4], front, back, machines)
    console.print(f"{path} and what it names are written.", soft_wrap=True, markup=False)
    if (directory / OWN_SWITCH).is_dir():
        console.print(
            f"Try it on our own switch:\n  shoudan serve {directory / OWN_SWITCH / 'switch.toml'} &\n"
            f"  shoudan sandwich --dir {directory}",
            soft_wrap=True,
            markup=False,
        )
    else:
        console.print(
            "Load into the switch under test: terminals.csv (master keys under the transport key), line-keys.csv, "
            f"bins.csv; then: shoudan sandwich --dir {directory}",
            soft_wrap=True,
            markup=False,
        )


# what is printed


def _show_rules(console: Console, json_to: str) -> None:
    """The table itself, row by row of the matrix where it differs."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("rule 规则", "how 方式", "only 仅限", "what a switch must do 要求"):
        grid.add_column(title, overflow="fold")
    seen: dict[str, list[str]] = {}
    order = {rule.name: rule for row in ROWS for rule in table(row.name)}
    order |= {rule.name: rule for rule in (*REVERSAL, *ANSWER, *COURSE_RULES)}
    for row in ROWS:
        for rule in table(row.name):
            seen.setdefault(rule.name, []).append(row.name)
    for name, rule in order.items():
        kinds = seen.get(name, [])
        only = "" if len(kinds) in (0, len(ROWS)) else " ".join(kinds)
        grid.add_row(name, " ".join(HOW[rule.how]), only, f"{rule.zh}\n{rule.en}")
    console.print(grid)
    rows = [
        {"rule": name, "how": rule.how, "de": rule.de, "rows": seen.get(name, []), "zh": rule.zh, "en": rule.en}
        for name, rule in order.items()
    ]
    write_json(rows, json_to)


def as_dict(judgement: Judgement) -> dict[str, Any]:
    """All of a judgement, masked."""
    return {
        "verdict": "findings" if judgement.found else "nothing found",
        "complete": judgement.complete,
        "seconds": round(judgement.seconds, 1),
        "messages": judgement.messages,
        "joined": {way or "not seen on a line": count for way, count in sorted(judgement.joined.how().items())},
        "ambiguous": len(judgement.joined.ambiguous),
        "reversals": judgement.reversals,
        "rows": {
            name: {"asked": c.asked, "joined": c.joined, "approved": c.approved}
            for name, c in judgement.coverage.items()
        },
        "rows_not_exercised": judgement.missing,
        "rules_not_exercised": [rule.name for rule in judgement.unchecked],
        "findings": [_finding(finding) for finding in judgement.found],
        "rules": {name: [f.checked, f.broken] for name, f in judgement.findings.items()},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": rule.name,
        "how": rule.how,
        "zh": rule.zh,
        "en": rule.en,
        "checked": finding.checked,
        "broken": finding.broken,
        "transactions": dict(finding.kinds),
        "evidence": finding.evidence.as_dict() if finding.evidence else None,
    }


def _show(judgement: Judgement, console: Console) -> None:
    grid = Table(title="Rows 交易", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("transaction 交易")
    for title in ("asked 请求", "seen on a line 上送", "approved 批准"):
        grid.add_column(title, justify="right")
    for name, c in judgement.coverage.items():
        grid.add_row(f"{BY_NAME[name].zh} {BY_NAME[name].en}", f"{c.asked:,}", f"{c.joined:,}", f"{c.approved:,}")
    console.print(grid)
    ways = ", ".join(f"{count:,} by {way}" for way, count in sorted(judgement.joined.how().items()) if way)
    console.print(f"joined 关联: {ways or 'none'}; {judgement.reversals:,} reversals 冲正", markup=False)
    if judgement.joined.ambiguous:
        console.print(
            f"[yellow]{len(judgement.joined.ambiguous):,} requests on a line fit more than one request in front: "
            "not joined, not checked 无法确定关联"
        )
    for finding in judgement.found:
        _show_finding(finding, console)
    idle = [rule.name for rule in judgement.unchecked]
    if idle:
        console.print(f"rules that nothing could show 未触发的规则: {', '.join(idle)}", style="dim", markup=False)
    if judgement.missing:
        rows = ", ".join(BY_NAME[name].en for name in judgement.missing)
        console.print(f"[yellow]rows that were never seen on a line 未覆盖的交易: {rows}")
    if not judgement.complete:
        console.print("[yellow]the recording was full before the end 记录已满")
    checks = sum(finding.checked for finding in judgement.findings.values())
    style = "red" if judgement.found else "green"
    verdict = BROKEN if judgement.found else CLEAN
    console.print(f"[bold {style}]{verdict}[/]: {checks:,} checks of {len(judgement.findings)} rules")


def _show_finding(finding: Finding, console: Console) -> None:
    rule = finding.rule
    console.print()
    console.print(f"[bold red]{rule.name}[/]  {rule.zh}\n{' ' * len(rule.name)}  {rule.en}")
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in finding.kinds.most_common())
    console.print(f"  broken {finding.broken:,} of {finding.checked:,} 违反次数 ({kinds})", markup=False)
    if finding.evidence is not None:
        _show_evidence(finding.evidence, rule.de, console)


def _show_evidence(evidence: Evidence, de: int, console: Console) -> None:
    """The first pair of messages, side by side, masked."""
    console.print(f"  first 首例: {evidence.kind}: {evidence.reason}", markup=False)
    sides = [seen for seen in (evidence.front, evidence.back) if seen is not None]
    if not sides:
        return
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    grid.add_column("DE", justify="right")
    for seen in sides:
        grid.add_column(f"{seen.mti} {seen.where}", overflow="fold")
    texts = [seen.masked() for seen in sides]
    for number in sorted({*texts[0], *texts[-1]}):
        style = "bold yellow" if number == de else ""
        grid.add_row(str(number), *(_plain(text.get(number, "-")) for text in texts), style=style)
    console.print(grid)


def _plain(text: str) -> str:
    """Text as a table cell takes it: no markup, no control characters."""
    return "".join(c if c.isprintable() else "." for c in text).replace("[", r"\[")


def register(app: typer.Typer) -> None:
    """Add `shoudan sandwich`."""
    app.command()(sandwich)
