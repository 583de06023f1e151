"""`shoudan scenario`: worlds on a virtual clock, by seed."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scenarios.inspection import cli as inspection
from scenarios.record import cli as recording
from scenarios.story import cli as stories
from scenarios.world import mutants as mutation
from scenarios.world.faults import Fault
from scenarios.world.shrink import shrink
from scenarios.world.swarm import Swarm, keep_story, read_story, swarm
from scenarios.world.world import Result, play
from terminals.cli import write_json

scenario = typer.Typer(
    help="Stories of the conformance book; worlds on a virtual clock, where everything breaks on purpose and a judge "
    "counts the money; traffic recorded and played again."
)

STORIES = Path("var/stories")
TELL_EVERY = 50


def _summary(found: Swarm, console: Console) -> None:
    data = found.as_dict()
    grid = Table.grid(padding=(0, 2))
    grid.add_row("seeds", f"{data['seeds']:,} from {data['first']}")
    grid.add_row("authorizations 交易", f"{data['authorizations']:,}, at least {data['authorizations_fewest']} a seed")
    grid.add_row("kinds of fault fired", f"{data['kinds_median']:g} a seed (median), {len(found.fired)} in all")
    grid.add_row("virtual time", f"{data['virtual_s'] / 3600:,.0f} hours in {data['seconds']:,.0f} s")
    grid.add_row("events", f"{data['events_per_s']:,} a second, {data['events_per_s_core']:,} a core")
    colour = "red" if found.failed else "green"
    grid.add_row("violations 违例", f"[{colour}]{data['violations']}")
    grid.add_row("unreached branches", f"{len(found.unreached)}" + ("" if found.enough else " (too few seeds to tell)"))
    console.print(grid)
    for branch in found.unreached if found.enough else ():
        console.print(f"  never reached: {branch}", markup=False)
    for kind in found.unfired if found.enough else ():
        console.print(f"  never fired: {kind}", markup=False)
    for result in found.failed[:10]:
        first = result.violations[0]
        console.print(f"  seed {result.seed}: {first.invariant} at {first.at} s: {first.what}", markup=False)


def _story(result: Result, console: Console, directory: Path) -> None:
    """A failing seed, shrunk and kept."""
    first = result.violations[0]
    fewest = shrink(result.seed, result.faults, first.invariant)
    path = keep_story(directory, result.seed, fewest, first.invariant, first.what)
    console.print(
        f"seed {result.seed}: {len(result.faults)} faults shrunk to {len(fewest)}; kept as {path}", markup=False
    )
    for fault in fewest:
        console.print(f"  {_told(fault)}", markup=False)


def _told(fault: Fault) -> str:
    where = fault.target + (f" {fault.n}" if fault.target in ("terminal", "machine") else "")
    return f"{fault.at:8.3f} s  {fault.kind} {where}" + (f" for {fault.for_s:g} s" if fault.for_s else "")


def _replay(seed: int, faults: list[Fault] | None, trace: bool, console: Console) -> int:
    tell = typer.echo if trace else None
    result, took = play(seed, faults, tell)
    for fault in result.faults:
        console.print(f"  {_told(fault)}", markup=False)
    console.print(
        f"seed {seed}: {result.authorizations} authorizations, {result.events} events in {took:.2f} s, digest "
        f"{result.digest}",
        markup=False,
    )
    for one in result.violations:
        console.print(f"  {one.invariant} at {one.at} s: {one.what}", markup=False)
    return 1 if result.violations else 0


@scenario.command("swarm")
def swarm_command(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 1000,
    first: Annotated[int, typer.Option(help="The first of them.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Play only this seed.")] = None,
    story: Annotated[Path | None, typer.Option(help="Play a kept story: its seed with its faults.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Tell every event of the one seed.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="How many processes share the seeds.")] = 2,
    stories: Annotated[Path, typer.Option(help="Where failing seeds are kept, shrunk.")] = STORIES,
    json_to: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file, or - for stdout.")
    ] = "",
) -> None:
    """Play seeds: each a small acquirer with switch, network, core, terminals and machines, in one process, on a
    virtual clock, whose network, disks, clocks and peers fail on purpose; then all faults end and everything must come
    to rest and balance.

    A judge with its own arithmetic watches every step. A failing seed is shrunk to the fewest faults and kept as a
    story, which `--story` plays again. The same seed runs the same twice.

    Exits 0 if nothing was violated and (from 500 seeds on) every rare branch was reached, else 1.
    """
    console = Console(stderr=json_to == "-", highlight=False)
    if seed is not None or story is not None:
        faults = None
        if story is not None:
            seed, faults = read_story(story)
        raise typer.Exit(_replay(seed or 0, faults, trace, console))

    def tell(so_far: Swarm) -> None:
        if so_far.seeds % TELL_EVERY == 0:
            console.print(f"{so_far.seeds:,} seeds, {len(so_far.failed)} failed, {so_far.seconds:.0f} s", markup=False)

    found = swarm(range(first, first + seeds), processes, tell)
    _summary(found, console)
    for result in found.failed[:3]:
        _story(result, console, stories)
    write_json(found.as_dict(), json_to)
    raise typer.Exit(0 if found.good else 1)


@scenario.command("mutants")
def mutants_command(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each mutant is given.")] = 1000,
    only: Annotated[list[str], typer.Option(help="Only these mutants (M1...).")] = [],  # noqa: B006
    processes: Annotated[int, typer.Option(min=1, help="How many processes share the mutants.")] = 2,
    page: Annotated[Path | None, typer.Option(help="Write the table into this page, between its marks.")] = None,
) -> None:
    """Test the tests: break the switch in known ways, one at a time, and see which seed and which invariant notice.

    Exits 0 if every mutant was caught, else 1.
    """
    console = Console(highlight=False)
    caught = mutation.hunt(only, seeds, processes, lambda one: console.print(one.told, markup=False))
    if page is not None:
        mutation.write_table(page, caught)
    raise typer.Exit(0 if all(one.seed for one in caught) else 1)


recording.register(scenario)
inspection.register(scenario)
stories.register(scenario)


def register(app: typer.Typer) -> None:
    """Add `shoudan scenario`."""
    app.add_typer(scenario, name="scenario")
