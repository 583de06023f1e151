"""`shoudan scenario record` and `replay`: traffic to a safe recording, and a recording against any host."""

import asyncio
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from scenarios.record.assemble import Assembler, Tally
from scenarios.record.capture import CaptureError, is_capture
from scenarios.record.cards import Cards, Invented, Listed, NoCards
from scenarios.record.compare import MUST_DIFFER
from scenarios.record.pans import PanMap, read_map
from scenarios.record.pcapfile import PcapWriter
from scenarios.record.play import Player
from scenarios.record.run import Replay, Result
from scenarios.record.safe import Safe
from scenarios.record.sources import Listener, from_capture, from_hex_log
from scenarios.record.story import Head, StoryError, StoryWriter, read_head, read_story
from scenarios.record.tap import Tap
from scenarios.sandwich.keyring import Keyring
from scenarios.story.recorded import write_stories
from switch.app.config import ConfigError, host_and_port, pos_profile, profile_for
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.codec import codec_of
from switch.wire.profile import PosProfile, dialect_of, framing_of
from switch.wire.table import TableError
from terminals.cli import JsonTo, transport_keys, write_json
from terminals.device.dialogue import Line
from terminals.fleet import Terminal
from terminals.own import own_cards, own_terminals, read_transport_keys

DIFFERS: Final = 1
COULD_NOT_RUN: Final = 3
SHOWN: Final = 20
ISSUED: Final = 20_000

Terminals = Annotated[
    Path | None, typer.Option(metavar="FILE", help="terminals.csv: the terminals' master keys, wrapped.")
]
KekFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Transport keys of the master keys; else from the environment.")
]
Profile = Annotated[str, typer.Option(metavar="NAME|FILE", help="How the link speaks.")]


def record(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the recording goes.")],
    source: Annotated[Path | None, typer.Argument(metavar="[CAPTURE|LOG]", help="A pcap, pcapng or hex log.")] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Be a proxy: listen here.")] = "",
    to: Annotated[str, typer.Option(metavar="HOST:PORT", help="Be a proxy: the host.")] = "",
    profile: Profile = "unionpay-pos",
    detect: Annotated[bool, typer.Option(help="Find a capture's framing out by itself.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The host's port in a capture; 0: all.")] = 0,
    card_map: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="Cards to test cards (columns pan, test).")
    ] = None,
    keep_cards: Annotated[bool, typer.Option("--keep-cards", help="They are test cards: keep them.")] = False,
    terminals: Terminals = None,
    kek_file: KekFile = None,
    pcap: Annotated[Path | None, typer.Option(metavar="FILE", help="A proxy also writes a pcap, unmasked.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="A proxy ends after so long; 0: at SIGINT.")] = 0.0,
    stories: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write it as stories, one a terminal, to be edited and run.")
    ] = None,
    json_to: JsonTo = "",
) -> None:
    """Make a recording of what passes between terminals and a host (录制): from a proxy, a capture or a hex log.

    Card numbers become test cards; PINs, keys and MACs are left out. Exits 0, 2 for bad usage.
    """
    if (source is None) == (not listen) or bool(listen) != bool(to) or (pcap and not listen):
        raise ConfigError("either a capture or log, or --listen and --to (with --pcap if wanted)")
    spoken = profile_for(profile, Path.cwd())
    kind = "pos" if isinstance(spoken, PosProfile) else "network"
    try:
        pans = PanMap(read_map(card_map) if card_map else (), keep_cards)
        keyring, tids = _keyring(spoken, terminals, kek_file)
    except TableError as error:
        raise ConfigError(str(error)) from None
    safe = Safe(kind, pans, keyring, tids)
    framing = None if source is not None and detect else framing_of(spoken)
    assembler = Assembler(safe, codec_of(dialect_of(spoken)), framing)
    head = Head(kind, spoken.name, "proxy" if source is None else source.suffix.lstrip(".") or "log")
    try:
        with out.open("w", encoding="utf-8") as file:
            story = StoryWriter(file, head)
            if source is None:
                here, there = host_and_port(listen), host_and_port(to)
                asyncio.run(_listen(here, there, assembler, story, pcap, seconds))
            else:
                _read(source, assembler, story, port)
        written = write_stories(out, stories) if stories is not None and kind == "pos" else 0
    except CaptureError as error:
        raise ConfigError(f"{source}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{error.filename or listen}: {error.strerror}") from None
    if stories is not None:
        Console(stderr=True, highlight=False).print(f"{stories}: {written} stories 案例", markup=False)
    _tell_record(assembler.tally, pans.cards, out, json_to)


def _keyring(spoken: Any, terminals: Path | None, kek_file: Path | None) -> tuple[Keyring | None, frozenset[str]]:
    if terminals is None or not isinstance(spoken, PosProfile):
        return None, frozenset()
    keyring = Keyring(spoken, {}, secrets.token_bytes)
    own = own_terminals(terminals, transport_keys(kek_file), spoken.suites)
    for terminal in own:
        keyring.add_terminal(terminal.tid, terminal.suite, terminal.tmk)
    return keyring, frozenset(terminal.tid for terminal in own)


def _read(source: Path, assembler: Assembler, story: StoryWriter, port: int) -> None:
    with source.open("rb") as file:
        capture = is_capture(file.read(4))
    for exchange in from_capture(source, assembler, port) if capture else from_hex_log(source, assembler):
        story.write(exchange)


async def _listen(
    here: tuple[str, int], there: tuple[str, int], assembler: Assembler, story: StoryWriter, pcap: Path | None,
    seconds: float,
) -> None:  # fmt: skip
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    file = pcap.open("wb") if pcap else None
    try:
        writer = PcapWriter(file, there[1]) if file else None
        hears = Listener(assembler, story, loop.time(), time.time(), writer)
        tap = Tap(*there, hears)
        await tap.listen(*here)
        if seconds:
            loop.call_later(seconds, over.set)
        await over.wait()
        await tap.close()
        hears.end()
    finally:
        if file is not None:
            file.close()


def _tell_record(tally: Tally, cards: int, out: Path, json_to: str) -> None:
    data = {
        "messages": tally.messages, "exchanges": tally.exchanges, "unanswered": tally.unanswered,
        "strays": tally.strays, "unreadable": tally.unreadable, "foreign_lines": tally.foreign, "gaps": tally.gaps,
        "cut": tally.cut, "cards": cards, "by_mti": dict(tally.by_mti), "notes": dict(tally.notes),
    }  # fmt: skip
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{out}: {tally.exchanges:,} exchanges of {tally.messages:,} messages, {cards:,} cards replaced")
    for name, words in (
        ("unanswered", "requests without an answer 无应答"), ("strays", "answers to nothing 无主应答"),
        ("unreadable", "not readable 无法解析"), ("foreign_lines", "lines without a message 无关行"),
        ("gaps", "gaps in the capture 丢包"),
    ):  # fmt: skip
        if data[name]:
            console.print(f"  {data[name]:,} {words}")
    if tally.cut:
        console.print("  the capture ends in the middle of a packet: all before it was read 抓包文件不完整")
    _notes(tally.notes, console)
    write_json(data, json_to)


def _notes(notes: Any, console: Console) -> None:
    for note, count in notes.most_common(SHOWN):
        console.print(f"  {count:,} x {note}", markup=False)


def replay(
    recording: Annotated[Path, typer.Argument(metavar="FILE", help="What `record` made.")],
    host: Annotated[str, typer.Option(metavar="HOST:PORT", help="The host to be asked.")],
    profile: Profile = "unionpay-pos",
    terminals: Terminals = None,
    kek_file: KekFile = None,
    cards: Annotated[Path | None, typer.Option(metavar="FILE", help="cards.csv: the test cards.")] = None,
    pin_file: Annotated[Path | None, typer.Option(metavar="FILE", help="PINs (columns pan, pin).")] = None,
    card_keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Test master keys of the cards' cryptograms, one a suite.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The cards of a demo day's seed, instead of --cards.")] = None,
    pace: Annotated[float, typer.Option(min=0, help="1: as recorded; 10: ten times as fast; 0: no waiting.")] = 1.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 15.0,
    ignore: Annotated[list[int], typer.Option(metavar="DE", help="A field not to compare.")] = [],  # noqa: B006
    atc_add: Annotated[int, typer.Option(min=0, help="Added to every card's transaction counter.")] = 0,
    json_to: JsonTo = "",
) -> None:
    """Play a recording against a host and compare every answer with the recorded one (回放).

    Exits 0 when all is as recorded, 1 with differences, 2 for bad usage, 3 when it could not run.
    """
    spoken = pos_profile(profile, Path.cwd())
    address = host_and_port(host)
    try:
        head = read_head(recording)
        if head.dialect != "pos":
            raise ConfigError(f"{recording}: speaks the network's dialect; a replay speaks for terminals only")
        own = own_terminals(terminals, transport_keys(kek_file), spoken.suites) if terminals else []
        player = Player(
            Line(spoken), _by_tid(own), _cards(cards, pin_file, card_keys, seed), atc_add, frozenset(ignore)
        )
        result = asyncio.run(_replay(Replay(player, Line(spoken), address, pace, timeout), address, recording))
    except TableError as error:
        raise ConfigError(str(error)) from None
    except StoryError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        where = error.filename or host
        Console(stderr=True).print(f"shoudan: {where}: {error.strerror or error}", style="red", markup=False)
        raise typer.Exit(COULD_NOT_RUN) from None
    _tell_replay(result, json_to)
    raise typer.Exit(0 if result.agreed else DIFFERS)


async def _replay(one: Replay, address: tuple[str, int], recording: Path) -> Result:
    _, writer = await asyncio.open_connection(*address)  # a host that is not there is told at once
    writer.close()
    return await one.run(read_story(recording))


def _by_tid(own: list[Terminal]) -> dict[str, Terminal]:
    return {terminal.tid: terminal for terminal in own}


def _cards(cards: Path | None, pin_file: Path | None, card_keys: Path | None, seed: int | None) -> Cards:
    if cards is not None:
        master = {key.suite: key.key for key in read_transport_keys(card_keys)} if card_keys else {}
        return Listed(own_cards(cards, pin_file), master)
    return NoCards() if seed is None else Invented(Portfolio(seed, STANDARD_ISSUERS, ISSUED))


def _tell_replay(result: Result, json_to: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    colour = "green" if result.agreed else "red"
    console.print(
        f"[{colour}]{result.sent:,} sent, {result.same:,} answered as recorded, {result.different:,} otherwise, "
        f"{result.unanswered:,} without an answer[/], {result.seconds:.1f} s"
    )
    declared = ", ".join(f"DE{de}" for de in MUST_DIFFER)
    console.print(f"  not compared but for being there 只比有无: {declared}; batch, keys and chip data made anew")
    for name, words in (
        (result.unanswered_then, "had no answer then and have none now"),
        (result.answered_now, "answered now; the recorded connection had ended before an answer could be seen"),
        (result.left_out, "left out: the host's own requests, or not to be encoded"),
        (result.sign_ins, "sign-ins that the recording did not begin with"),
    ):
        if name:
            console.print(f"  {name:,} {words}")
    for field, count in result.by_field.most_common():
        console.print(f"  {field}: {count:,} times")
    for one in result.differences[:SHOWN]:
        console.print(f"  exchange {one['n']} ({one['mti']}, {one['tid']}): " + "; ".join(one["what"]), markup=False)
    for one in result.no_match[:SHOWN]:
        console.print(f"  exchange {one['n']} ({one['tid']}): " + "; ".join(one["why"]), markup=False)
    _notes(result.notes, console)
    write_json(result.as_dict(), json_to)


def register(group: typer.Typer) -> None:
    """Add `record` and `replay` to the group `shoudan scenario`."""
    commands: dict[str, Callable[..., None]] = {"record": record, "replay": replay}
    for name, command in commands.items():
        group.command(name)(command)
