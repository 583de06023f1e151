"""`shoudan load`: the open-loop engine on the command line."""

import asyncio
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from loadtest.house import House, HouseFailed, house
from loadtest.open import compare as comparing
from loadtest.open import knee as knees
from loadtest.open import soak as soaking
from loadtest.open.arrivals import SCHEDULES, curve
from loadtest.open.limits import Impossible, check_terminals
from loadtest.open.mix import AS_GIVEN, read_mix
from loadtest.open.run import SUMMARY, Order, Ready, at_rate, play
from loadtest.open.tills import NobodySignedIn
from loadtest.people import ENTRIES, FULL
from switch.wire.errors import WireError
from switch.wire.profile import PosProfile, load_profile
from terminals.cli import BadOrder, JsonTo, address, ended, pos_profile, transport_keys, write_json
from terminals.own import own_cards, own_terminals

BROKEN, BAD_USAGE, UNREACHABLE, DIED = 1, 2, 3, 4
MODES: Final = ("full", "lean")
SOAK_SHARE: Final = 0.7
KNEE_S: Final = 6.0
"""Of the knee, how much a soak asks; and how long a step towards it lasts."""

load = typer.Typer(help="Put a switch under load, open loop (开环压测).", no_args_is_help=True)

Host = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="The host; without it a switch, centre and core of our own start.")
]
Terminals = Annotated[
    str, typer.Option(metavar="N|FILE", help="How many of our own house; or terminals.csv for your host.")
]
Cards = Annotated[Path | None, typer.Option(metavar="FILE", help="cards.csv: your cards, read by their stripe.")]
KekFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Transport keys of terminals.csv.")]
Profile = Annotated[str, typer.Option(metavar="NAME|FILE", help="How your host speaks.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the figures go; must not hold an earlier run's.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes of the switch.")]
Seed = Annotated[int, typer.Option(help="Seed of the issuers' cards; your host's centre must have the same.")]
Mode = Annotated[str, typer.Option(help="full: card and kernel in every sale; lean: taps prepared before the run.")]
Entry = Annotated[str, typer.Option(help="tap, insert or stripe.")]
Mix = Annotated[
    str, typer.Option(metavar="CHAIN=SHARE,...", help="What customers do: sale, sale+void, sale+refund, ...")
]
Cap = Annotated[int, typer.Option("--in-flight-max", min=1, help="Customers under way at most; more are skipped.")]
Think = Annotated[float, typer.Option(min=0.0, help="Seconds between a sale and what follows it.")]
Watch = Annotated[
    list[str] | None, typer.Option(metavar="NAME=PID", help="Your host's processes, to name the limit; again for more.")
]


def register(app: typer.Typer) -> None:
    """Add `shoudan load`."""
    app.add_typer(load, name="load")


@load.callback()
def _load() -> None:
    """Put a switch under load, open loop (开环压测)."""


@contextmanager
def _faults_told() -> Iterator[None]:
    """What a run cannot be made of, and a host that lets nobody in, end the command: in words and with its code."""
    try:
        yield
    except (BadOrder, WireError, ValueError, Impossible, HouseFailed, OSError) as error:
        raise ended(str(error), BAD_USAGE) from None
    except NobodySignedIn as error:
        raise ended(f"no terminal could sign in: {error}", UNREACHABLE) from None


@contextmanager
def _order(
    host: str, terminals: str, cards: Path | None, kek_file: Path | None, profile: str, seed: int, mode: str,
    entry: str, mix: str, cap: int, think: float, out: Path | None,
) -> Iterator[tuple[Order, dict[str, int]]]:  # fmt: skip
    """What was asked for as an order of rate 1, and the processes of the house. Raises BadOrder, WireError,
    HouseFailed."""
    if mode not in MODES or entry not in ENTRIES:
        raise BadOrder(f"--mode is one of {', '.join(MODES)}, --entry one of {', '.join(ENTRIES)}")
    try:
        chains = read_mix(mix if mode == "full" else "sale=1")
    except ValueError as error:
        raise BadOrder(f"--mix: {error}") from None
    flat = curve("constant", 1.0, 1.0)
    rest: dict[str, Any] = {"mode": mode, "entry": entry, "mix": chains, "cap": cap, "think_s": think, "curve": flat}
    if host:
        there, port = address(host)
        spoken = pos_profile(profile)
        own = _able(own_terminals(terminals, transport_keys(kek_file), spoken.suites), entry)
        stripes = own_cards(cards) if cards is not None else []
        if stripes:
            rest["entry"] = "stripe"
        yield Order(host=there, port=port, profile=spoken, terminals=own, own=stripes, seed=seed, **rest), {}
        return
    if not terminals.isdecimal() or not int(terminals):
        raise BadOrder(f"--terminals {terminals!r}: without --host the number of terminals is needed")
    wanted = int(terminals)
    check_terminals(wanted)
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="shoudan-load-", dir=out))
        running = stack.enter_context(house(Path(place), _minted(wanted, entry), seed))
        yield _of_house(running, wanted, rest), running.pids


def _minted(wanted: int, entry: str) -> int:
    """Half of the terminals have a field: so many more are minted that enough of them do."""
    return wanted if entry == "stripe" else wanted * 3 + 20


def _of_house(running: House, wanted: int, rest: dict[str, Any]) -> Order:
    """An order for so many terminals of a house of our own."""
    spoken = load_profile(running.directory / "profile-pos.toml")
    assert isinstance(spoken, PosProfile)
    keys = transport_keys(running.directory / "transport-keys.csv")
    own = _able(own_terminals(running.directory / "terminals.csv", keys, spoken.suites), rest["entry"])[:wanted]
    return Order(
        host="127.0.0.1", port=running.port, profile=spoken, terminals=own, seed=running.seed,
        cards_per_issuer=running.cards_per_issuer, **rest,
    )  # fmt: skip


def _able(terminals: list[Any], entry: str) -> list[Any]:
    """The terminals that read cards so. Raises BadOrder where there is none."""
    capability = {"tap": "contactless", "insert": "contact", "stripe": "stripe"}[entry]
    able = [one for one in terminals if capability in one.capabilities]
    if not able:
        raise BadOrder(
            f"--entry {entry}: none of the {len(terminals):,} terminals reads {capability}; stripe would work"
        )
    return able


@load.command("house")
def keep_house(
    directory: Annotated[Path, typer.Argument(help="Where keys, terminals and journals go.")],
    terminals: Annotated[int, typer.Option(min=1, help="Terminals in its list.")] = 400,
    atms: Annotated[int, typer.Option(min=0, help="Machines in its list.")] = 20,
    validators: Annotated[int, typer.Option(min=0, help="Bus gates, with an office that has two terminals.")] = 10,
    seed: Seed = 7,
    workers: Workers = 1,
) -> None:
    """Start a switch, a network centre and a core, and keep them until Ctrl-C: a ground for Locust, or for `load run`.

    Exits 0 when it is told to stop, 2 when it could not start.
    """
    console = Console(highlight=False)
    if directory.exists() and any(directory.iterdir()):
        raise ended(f"{directory}: is not empty, name another", BAD_USAGE)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with house(directory, terminals, seed, atms, workers, validators) as running:
            console.print(f"127.0.0.1:{running.port}  {running.pids}", markup=False)
            stop.wait()
    except (HouseFailed, OSError) as error:
        raise ended(str(error), BAD_USAGE) from None


@load.command("run")
def run(
    out: Out,
    rate: Annotated[float, typer.Option(min=0.01, help="Customers a second, at the curve's top.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long they come.")] = 30.0,
    schedule: Annotated[str, typer.Option(help=", ".join(SCHEDULES) + ".")] = "poisson",
    spike: Annotated[float, typer.Option(min=1.0, help="With --schedule spike: how many times the rate.")] = 3.0,
    host: Host = "",
    terminals: Terminals = "200",
    cards: Cards = None,
    kek_file: KekFile = None,
    profile: Profile = "unionpay-pos",
    seed: Seed = 7,
    mode: Mode = "full",
    entry: Entry = "tap",
    mix: Mix = AS_GIVEN,
    in_flight_max: Cap = 10_000,
    think: Think = 1.0,
    jtl_every: Annotated[int, typer.Option(min=0, help="One sample in so many goes to samples.jtl; 0: none.")] = 1,
    draw: Annotated[int, typer.Option(help="The same number, the same customers.")] = 1,
) -> None:
    """Customers come by a schedule, whether or not earlier ones were answered.

    Writes seconds.csv, samples.jtl (JMeter's dashboards read it), HDR histograms, summary.json and report.html.

    Exits 0; 2 for what cannot be done, with the number that would work; 3 when the host let no terminal in; 4 when it
    was lost in the middle: what was seen until then is written.
    """
    console = Console(highlight=False)
    if (out / SUMMARY).exists():
        raise ended(f"--out {out}: holds an earlier run, name another", BAD_USAGE)
    with _faults_told():
        wanted = curve(schedule, rate, seconds, spike)
        out.mkdir(parents=True, exist_ok=True)
        with _order(
            host, terminals, cards, kek_file, profile, seed, mode, entry, mix, in_flight_max, think, out
        ) as (order, _):  # fmt: skip
            order = replace(
                order, curve=wanted, schedule=schedule, even=schedule == "constant", jtl_every=jtl_every, draw=draw
            )
            console.print(
                f"{len(order.terminals):,} terminals, {mode}, {schedule}, up to {wanted.peak:g}/s for {seconds:g} s"
            )
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                figures = runner.run(play(order, out, lambda row: console.print(_line(row), soft_wrap=True)))
    console.print(_summary(figures))
    for zh, en in figures["warnings"]:
        console.print(f"[yellow]{zh}\n{en}", soft_wrap=True)
    console.print(f"{out / 'report.html'}")
    raise typer.Exit(DIED if figures["dead_after_s"] is not None else 0)


def _line(row: dict[str, float]) -> str:
    return (
        f"{row['second']:4.0f} s  offered {row['offered']:6,.0f}  answered {row['answered']:6,.0f}  "
        f"failed {row['failed']:4,.0f}  skipped {row['skipped']:4,.0f}  "
        f"p50 {row['intended_p50_ms']:7.2f}  p99 {row['intended_p99_ms']:7.2f} ms"
    )


def _summary(figures: dict[str, Any]) -> Table:
    table = Table(title="压测 Load")
    for column in ("", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(column, justify="left" if not column else "right")
    for name, words in (
        ("intended_ms", "计划起 from the intended instant, ms"), ("sent_ms", "发送起 from the send, ms"),
        ("late_ms", "发生器迟到 generator late, ms"),
    ):  # fmt: skip
        one = figures[name]
        table.add_row(words, *(f"{one[key]:g}" for key in ("p50", "p90", "p99", "p99_9", "max")))
    table.caption = (
        f"{figures['sent']:,} sent, {figures['approved']:,} approved, {figures['declined']:,} declined, "
        f"{figures['failed']:,} failed, {figures['skipped']:,} skipped; {figures['per_second']:g} a second"
    )
    return table


@load.command("compare")
def compare(
    a: Annotated[Path, typer.Argument(help="Directory of one run.")],
    b: Annotated[Path, typer.Argument(help="Directory of the other.")],
    allowed: Annotated[float, typer.Option(min=0.0, help="Share by which a figure may be worse.")] = 0.1,
    json_to: JsonTo = "",
) -> None:
    """Two runs side by side. Exits 1 when B is worse than A by more than is allowed, 2 when one does not read."""
    try:
        rows = comparing.compare(comparing.read(a), comparing.read(b), allowed)
    except ValueError as error:
        raise ended(str(error), BAD_USAGE) from None
    write_json([row._asdict() for row in rows], json_to)
    if json_to != "-":
        table = Table(title=f"{a.name} / {b.name}")
        for column in ("", "A", "B", "变化 change", ""):
            table.add_column(column, justify="left" if not column else "right")
        for row in rows:
            change = "" if row.change is None else f"{row.change:+.1%}"
            table.add_row(row.name, f"{row.a:,g}", f"{row.b:,g}", change, "[red]差 worse" if row.worse else "")
        Console().print(table)
    raise typer.Exit(BROKEN if any(row.worse for row in rows) else 0)


@load.command("knee")
def knee(
    first: Annotated[float, typer.Option(min=0.1, help="Rate of the first step.")] = 100.0,
    factor: Annotated[float, typer.Option(min=1.01, max=10.0, help="Each step is so many times the one before.")] = 1.5,
    refine: Annotated[int, typer.Option(min=0, max=8, help="How often the last gap is halved.")] = 2,
    most: Annotated[float, typer.Option(min=1.0, help="Where to stop at the latest.")] = 100_000.0,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long a step lasts.")] = 8.0,
    p99: Annotated[float, typer.Option(min=0.1, help="Threshold: ms from the intended instant.")] = 50.0,
    failed: Annotated[float, typer.Option(min=0.0, max=1.0, help="Threshold: share of failures.")] = 0.001,
    skipped: Annotated[float, typer.Option(min=0.0, max=1.0, help="Threshold: share of skipped customers.")] = 0.001,
    host: Host = "",
    terminals: Terminals = "400",
    cards: Cards = None,
    kek_file: KekFile = None,
    profile: Profile = "unionpay-pos",
    seed: Seed = 7,
    mode: Mode = "full",
    entry: Entry = "tap",
    mix: Mix = "sale=1",
    in_flight_max: Cap = 10_000,
    think: Think = 1.0,
    watch: Watch = None,
    json_to: JsonTo = "",
) -> None:
    """Step the rate up until a threshold breaks, and name the stage that limits.

    Exits 0 with a knee, 1 when the first step broke already, 2 for what cannot be done, 3 when nobody was let in.
    """
    console = Console(highlight=False, stderr=json_to == "-")
    with _faults_told(), _order(
        host, terminals, cards, kek_file, profile, seed, mode, entry, mix, in_flight_max, think, None
    ) as (order, pids):  # fmt: skip
        pids = pids | _pids(watch)
        thresholds = knees.Thresholds(p99, failed, skipped)

        def tell(step: knees.Step) -> None:
            reached, ms = step.figures["per_second"], step.figures["intended_ms"]
            console.print(
                f"{step.rate:9,.0f}/s  reached {reached:9,.1f}  p50 {ms['p50']:8.2f}  p99 {ms['p99']:8.2f} ms  "
                f"{step.broken or 'held'}  {step.busy}", soft_wrap=True, markup=False,
            )  # fmt: skip

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_climb(order, thresholds, first, factor, refine, most, seconds, pids, tell))
    write_json(found, json_to)
    if json_to != "-":
        console.print(f"拐点 knee {found['knee_per_s']:g}/s; {found['broken'] or 'nothing broke'}", markup=False)
        if found["limit"]:
            console.print(f"瓶颈 limit: {found['limit']}", markup=False, soft_wrap=True)
    raise typer.Exit(BROKEN if not found["knee_per_s"] else 0)


@load.command("soak")
def soak(
    out: Out,
    rate: Annotated[float, typer.Option(min=0.0, help="Customers a second; 0: 70 % of the knee, found first.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=4.0, help="How long they come.")] = 600.0,
    terminals: Annotated[int, typer.Option(min=1, help="Terminals of the house.")] = 400,
    workers: Workers = 1,
    seed: Seed = 7,
    entry: Entry = "tap",
    mix: Mix = AS_GIVEN,
    think: Think = 1.0,
    batch: Annotated[int, typer.Option(min=1, max=FULL, help="Sales after which a terminal settles.")] = 50,
    day: Annotated[float, typer.Option(min=0.0, help="Seconds of a settlement day; 0: it never ends.")] = 60.0,
) -> None:
    """A long run against a house of our own: memory must not grow, nothing be left over, all days' books agree.

    So that memory can stand still, days are short, and what is a day old is forgotten: after a month in real life.

    Writes what `run` writes, and memory.csv. Exits 0; 1 when something did not hold; 2 for what cannot be done; 3 when
    nobody was let in; 4 when the switch was lost.
    """
    console = Console(highlight=False)
    if (out / SUMMARY).exists():
        raise ended(f"--out {out}: holds an earlier run, name another", BAD_USAGE)
    with _faults_told():
        check_terminals(terminals)
        rest = {"entry": entry, "mix": read_mix(mix), "think_s": think, "batch": batch}
        rest["curve"] = curve("constant", 1.0, 1.0)
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="shoudan-load-", dir=out) as place:
            with house(Path(place), _minted(terminals, entry), seed, workers=workers, forgetful=bool(day)) as running:
                order = _of_house(running, terminals, rest)
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    figures = runner.run(_soak(running, order, rate, seconds, out, console, day))
            found = soaking.findings(figures, soaking.reconciled(Path(place)))
    soaking.write(out, figures, found)
    console.print(_summary(figures))
    for one in found:
        console.print(f"{'[green]✓' if one.holds else '[red]✗'}[/] {one.zh} {one.en}: {one.found}", soft_wrap=True)
    console.print(f"{out / 'report.html'}")
    if figures["dead_after_s"] is not None:
        raise typer.Exit(DIED)
    raise typer.Exit(0 if all(one.holds for one in found) else BROKEN)


async def _soak(
    running: House, order: Order, rate: float, seconds: float, out: Path, console: Console, day_s: float
) -> dict[str, Any]:
    ready = Ready(order)
    await ready.enter(order)
    if not rate:

        async def step(at: float) -> dict[str, Any]:
            return await play(at_rate(order, at, KNEE_S), None, ready=ready)

        watch = knees.Watch(running.pids)
        found = await knees.knee(step, knees.Thresholds(), 50.0, 1.5, 1, 100_000.0, watch, lambda one: None)
        if not found["knee_per_s"]:
            raise BadOrder(f"no knee: 50/s broke already ({found['broken']}); name a --rate")
        rate = SOAK_SHARE * found["knee_per_s"]
        console.print(f"拐点 knee {found['knee_per_s']:g}/s, 浸泡 soak at {rate:.0f}/s for {seconds:g} s")
    soaked = replace(at_rate(order, rate, seconds), jtl_every=0)
    return await soaking.soak(running, soaked, ready, out, lambda row: console.print(_line(row), soft_wrap=True), day_s)


async def _climb(
    order: Order, thresholds: knees.Thresholds, first: float, factor: float, refine: int, most: float, seconds: float,
    pids: dict[str, int], tell: Any,
) -> dict[str, Any]:  # fmt: skip
    order = at_rate(order, first, seconds)
    ready = Ready(order)
    await ready.enter(order)

    async def run(rate: float) -> dict[str, Any]:
        return await play(at_rate(order, rate, seconds), None, ready=ready)

    return await knees.knee(run, thresholds, first, factor, refine, most, knees.Watch(pids), tell)


def _pids(watch: list[str] | None) -> dict[str, int]:
    found = {}
    for entry in watch or ():
        name, _, pid = entry.partition("=")
        if not name or not pid.isdecimal():
            raise BadOrder(f"--watch {entry!r}: NAME=PID is needed")
        found[name] = int(pid)
    return found
