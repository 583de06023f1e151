"""`shoudan fleet`: the user's own terminals with the user's own cards against any host that speaks the profile."""

import asyncio
import json
import os
import ssl
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
import uvloop
from rich.console import Console
from rich.live import Live

from switch.wire.errors import WireError
from switch.wire.profile import PosProfile, load_profile
from switch.wire.tls import client_context
from switch.wire.transactions import BY_NAME
from terminals.beside import KEYS, LIST, HostFailed, fresh_key, lay_list
from terminals.census import Census, is_census, load_census, shipped
from terminals.device.dialogue import Line
from terminals.field import FieldOrder, FieldRun
from terminals.limits import ROW_BYTES, Impossible, check_memory, memory_bytes
from terminals.mixes import MIX
from terminals.muster import StormOrder, storm
from terminals.own import ENVIRONMENT, TransportKey, own_cards, own_terminals, parse_transport_keys, read_transport_keys
from terminals.province import Province
from terminals.run import BOOK, OWN_HABITS, NobodySignedIn, Order, Run
from terminals.screen import Screen, StormScreen, summary
from terminals.trade import WITHOUT_MONEY, Habits

DONE, LEFT_OPEN, BAD_USAGE, UNREACHABLE, LOST = 0, 1, 2, 3, 4
RATE_PER_TERMINAL: Final = 0.17
SHARE_MAX: Final = 1000
MIX_AS_GIVEN: Final = ",".join(f"{kind}={share}" for kind, share in MIX.items())
FIGURES: Final = "fleet.json"
SEED: Final = 7
"""Of a fleet by its profile, where none is given."""

Host = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="The host the terminals call; a storm without one has its own switch.")
]
Terminals = Annotated[
    str,
    typer.Option(metavar="FILE|N", help="terminals.csv: terminals, merchants, wrapped keys; of a profile, how many."),
]
Cards = Annotated[Path | None, typer.Option(metavar="FILE", help="cards.csv: the cards that pay.")]
Profile = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="How the host speaks; or a fleet, shipped or your own file.")
]
Speaks = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="With a fleet's profile: how the host speaks, if not as it says.")
]
StormToo = Annotated[bool, typer.Option("--sign-in-storm", help="With a fleet's profile: all sign in, at once.")]
AtOnce = Annotated[int, typer.Option(min=1, help="Storm: connections open at a time.")]
Addresses = Annotated[
    int, typer.Option(min=0, max=60_000, help="Storm: loopback addresses to leave from; 0: as many as it needs.")
]
HsmOps = Annotated[
    int, typer.Option(min=0, help="Storm: operations a second of our own switch's HSM; 0: as fast as it is.")
]
Control = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Storm: control socket of the host, a switch of yours, to ask it.")
]
WriteList = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="With a fleet's profile: write its terminals.csv, under the key of --kek-file or a new one, and end.",
    ),
]
KekFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help=f"Transport keys of the master keys; without it ${ENVIRONMENT}.")
]
PinFile = Annotated[Path | None, typer.Option(metavar="FILE", help="PINs (columns pan, pin) not in cards.csv.")]
Rate = Annotated[
    float,
    typer.Option(
        min=0.0, help=f"Customers a second; 0: {RATE_PER_TERMINAL} a terminal, or what the fleet's profile says."
    ),
]
Seconds = Annotated[float, typer.Option(min=0.1, help="How long they come.")]
Mix = Annotated[str, typer.Option(metavar="KIND=SHARE,...", help="What they want.")]
Amount = Annotated[str, typer.Option(metavar="MIN-MAX", help="Purchases in yuan; without it as in a shop.")]
OneConnection = Annotated[
    bool, typer.Option("--one-connection-per-transaction", help="Connect anew for each dialogue (短连接).")
]
TlsCa = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Speak TLS; believe hosts under this authority (PEM).")
]
TlsCert = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With --tls-ca: the terminals' certificate and key (PEM).")
]
Settle = Annotated[bool, typer.Option(help="Settle every batch at the end.")]
Rest = Annotated[float, typer.Option(min=0.0, help="Seconds for reversals and settlements at the end.")]
Seed = Annotated[int | None, typer.Option(help="The same seed, the same customers.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Write the terminals' book, slips and figures here.")]
JsonTo = Annotated[str, typer.Option("--json", metavar="FILE|-", help="Write the figures as JSON.")]


class BadOrder(Exception):
    """A run that cannot be made of what was given."""


def address(text: str) -> tuple[str, int]:
    """ "127.0.0.1:7001" taken apart. Raises BadOrder."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise BadOrder(f"--host {text!r}: HOST:PORT is needed")
    return host.strip("[]"), int(port)


def read_mix(text: str) -> dict[str, int]:
    """ "sale=60,balance=10" as shares by kind. Raises BadOrder."""
    known = {*BY_NAME, *WITHOUT_MONEY}
    mix: dict[str, int] = {}
    for part in text.split(","):
        kind, _, share = (word.strip() for word in part.partition("="))
        if kind not in known:
            raise BadOrder(f"--mix: {kind!r} is none of {', '.join(sorted(known))}")
        if kind in mix:
            raise BadOrder(f"--mix: {kind!r} stands there twice")
        if not (share.isascii() and share.isdigit() and int(share) <= SHARE_MAX):
            raise BadOrder(f"--mix: {kind}={share}: a share is a whole number up to {SHARE_MAX}")
        mix[kind] = int(share)
    if not any(mix.values()):
        raise BadOrder("--mix: all shares are 0")
    return mix


def read_amounts(text: str) -> Habits:
    """ "1-50" or "0.01-500.00", in yuan, as habits. Raises BadOrder."""
    least, _, most = text.partition("-")
    try:
        ends = round(float(least) * 100), round(float(most or least) * 100)
    except (ValueError, OverflowError):
        ends = (0, 0)
    if not 1 <= ends[0] <= ends[1] < 10**12:
        raise BadOrder(f"--amount {text!r}: MIN-MAX in yuan is needed, 0.01 at least")
    return OWN_HABITS._replace(amounts=ends, typical=False)


def transport_keys(path: Path | None) -> list[TransportKey]:
    """The transport keys of the file, or of the environment where no file is named."""
    if path is not None:
        return read_transport_keys(path)
    text = os.environ.get(ENVIRONMENT, "")
    return parse_transport_keys(text) if text.strip() else []


def pos_profile(name: str) -> PosProfile:
    """A terminals' profile by name or path. Raises BadOrder, ProfileError."""
    profile = load_profile(name)
    if not isinstance(profile, PosProfile):
        raise BadOrder(f"profile {name}: a terminals' profile is needed, this one is for a network")
    return profile


def tls_of(ca: Path | None, cert: Path | None) -> ssl.SSLContext | None:
    """The context of the terminals' connections, None without TLS. Raises BadOrder, TlsError."""
    if ca is None:
        if cert is not None:
            raise BadOrder("--tls-cert: --tls-ca is needed too, to know whom to believe")
        return None
    return client_context(ca, cert)


def run_directory(path: Path | None) -> None:
    """Make the directory of a run; one that holds an earlier run's book is left alone. Raises BadOrder."""
    if path is None:
        return
    if (path / BOOK).exists():
        raise BadOrder(f"--out {path}: holds the book of an earlier run, name another")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOrder(f"--out {path}: {error.strerror}") from None


def fleet(
    host: Host = "",
    terminals: Terminals = "",
    cards: Cards = None,
    profile: Profile = "unionpay-pos",
    speaks: Speaks = "",
    sign_in_storm: StormToo = False,
    at_once: AtOnce = 256,
    addresses: Addresses = 0,
    hsm_ops: HsmOps = 0,
    control: Control = None,
    write_list: WriteList = None,
    kek_file: KekFile = None,
    pin_file: PinFile = None,
    rate: Rate = 0.0,
    seconds: Seconds = 60.0,
    mix: Mix = MIX_AS_GIVEN,
    amount: Amount = "",
    one_connection: OneConnection = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    settle: Settle = True,
    rest: Rest = 90.0,
    seed: Seed = None,
    out: Out = None,
    json_to: JsonTo = "",
) -> None:
    """Run your own terminals with your own cards against a host (自有终端), or a fleet by its profile (机群).

    They sign in, pay by the mix, reverse what stayed unanswered and settle. Card numbers, tracks, PINs and keys are
    read from files, never from the command line, and stand in no output.

    Exits 0 when all is done; 1 when something stayed open: a reversal, a batch, a terminal; 2 for bad usage or a file
    at fault, by its line; 3 when the host let no terminal in; 4 when a storm lost it, with what was seen until then.
    """
    console = Console(stderr=json_to == "-", highlight=False)
    try:
        how: dict[str, Any] = {
            "mix": read_mix(mix), "seconds": seconds, "kept": not one_connection, "settle": settle, "rest_s": rest,
            "seed": seed, "tls": tls_of(tls_ca, tls_cert), "habits": read_amounts(amount) if amount else OWN_HABITS,
        }  # fmt: skip
        if is_census(profile):
            asked = _Asked(profile, terminals, speaks, SEED if seed is None else seed, host, out, json_to)
            _refuse(mix != MIX_AS_GIVEN or amount, "--mix, --amount: a fleet's profile says both, also your own file")
            _refuse(sign_in_storm and tls_ca, "--tls-ca: a storm speaks no TLS")
            if write_list is not None:
                code = _listed(asked, write_list, transport_keys(kek_file), console)
            elif sign_in_storm:
                code = _stormed(asked, (at_once, addresses, hsm_ops), control, console)
            else:
                code = _traded(FieldOrder(**asked.field(cards, pin_file), rate=rate, **how), out, json_to, console)
        else:
            _refuse(sign_in_storm or write_list, f"--profile {profile}: a fleet's is needed ({', '.join(shipped())})")
            own = _own(host, profile, terminals, cards, kek_file, pin_file, rate)
            code = _traded(Order(**own, **how), out, json_to, console)
    except (BadOrder, WireError, Impossible, HostFailed) as error:
        raise ended(str(error), BAD_USAGE) from None
    except NobodySignedIn as error:
        raise ended(f"{host}: no terminal could sign in: {error}", UNREACHABLE) from None
    raise typer.Exit(code)


def _refuse(wrong: object, reason: str) -> None:
    if wrong:
        raise BadOrder(reason)


def _own(
    host: str,
    profile: str,
    terminals: str,
    cards: Path | None,
    kek_file: Path | None,
    pin_file: Path | None,
    rate: float,
) -> dict[str, Any]:
    """The user's own terminals and cards, and their host, as the beginning of an Order."""
    missing = [name for name, given in (("host", host), ("terminals", terminals), ("cards", cards)) if not given]
    if cards is None or missing:
        raise BadOrder(f"--{missing[0]}: is needed, unless --profile is a fleet ({', '.join(shipped())})")
    spoken = pos_profile(profile)
    there, port = address(host)
    own = own_terminals(terminals, transport_keys(kek_file), spoken.suites)
    return {
        "host": there, "port": port, "profile": spoken, "terminals": own, "cards": own_cards(cards, pin_file),
        "rate": rate or len(own) * RATE_PER_TERMINAL,
    }  # fmt: skip


def _traded(order: Order, out: Path | None, json_to: str, console: Console) -> int:
    run_directory(out)
    count, rate, cards = len(order.terminals), order.rate, f"{len(order.cards):,} cards"
    if isinstance(order, FieldOrder):
        count, rate = order.census.terminals, order.rate or sum(order.census.rates)
        if not rate:
            raise BadOrder("--rate: is needed, the fleet's profile has no a_day")
        cards = cards if order.cards else "the invented issuers' cards"
    told = f"{count:,} terminals, {cards}, {rate:.3g} customers/s for {order.seconds:g} s"
    console.print(f"{told}, to {order.host}:{order.port}", soft_wrap=True, markup=False)
    data = _played(order, out, console)
    summary(data, console)
    _write(data, json_to, out)
    return LEFT_OPEN if data["open"] or data["faults"] else DONE


class _Asked(NamedTuple):
    """What was asked of a fleet by its profile."""

    profile: str
    terminals: str
    speaks: str
    seed: int
    host: str
    out: Path | None
    json_to: str

    def census(self) -> Census:
        """The profile, scaled to `terminals`. Raises BadOrder, CensusError."""
        census = load_census(self.profile)
        if not self.terminals:
            return census
        if not (self.terminals.isascii() and self.terminals.isdigit() and int(self.terminals)):
            raise BadOrder(f"--terminals {self.terminals!r}: of a fleet's profile a number is needed, 1 or more")
        return census.scaled(int(self.terminals))

    def field(self, cards: Path | None, pin_file: Path | None) -> dict[str, Any]:
        """The beginning of a FieldOrder."""
        if not self.host:
            raise BadOrder("--host: is needed; only --sign-in-storm and --write-list do without")
        census = self.census()
        check_memory(census.terminals, ROW_BYTES, memory_bytes())
        there, port = address(self.host)
        return {
            "host": there, "port": port, "profile": pos_profile(self.speaks or census.speaks), "terminals": (),
            "census": census, "cards_seed": self.seed,
            "cards": own_cards(cards, pin_file) if cards is not None else [],
        }  # fmt: skip


def _listed(asked: _Asked, directory: Path, keys: list[TransportKey], console: Console) -> int:
    """Write the list of a fleet's terminals, for the host they will call, under the first of the transport keys."""
    census = asked.census()
    province = Province(census, asked.seed, Line(pos_profile(asked.speaks or census.speaks)))
    if (directory / LIST).exists():
        raise BadOrder(f"--write-list {directory}: holds a {LIST}, name another")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lay_list(directory, province.registered(), keys[0] if keys else fresh_key())
    except OSError as error:
        raise BadOrder(f"--write-list {directory}: {error.strerror}") from None
    console.print(f"{directory / LIST}, {directory / KEYS}", soft_wrap=True, markup=False)
    return DONE


def _stormed(asked: _Asked, limits: tuple[int, int, int], control: Path | None, console: Console) -> int:
    """Run a storm, and say how it went."""
    census = asked.census()
    speaks = asked.speaks or census.speaks
    at_once, addresses, hsm_ops = limits
    if asked.host and hsm_ops:
        raise BadOrder("--hsm-ops is for our own switch; a host of yours has hsm_ops in its switch.toml")
    with ExitStack() as stack:
        if asked.out is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shoudan-fleet-")))
        else:
            directory = asked.out
            run_directory(directory)
        if (directory / LIST).exists():
            raise BadOrder(f"--out {directory}: holds an earlier storm, name another")
        order = StormOrder(
            census=census, profile=pos_profile(speaks), speaks=speaks, seed=asked.seed, directory=directory,
            host=address(asked.host) if asked.host else None, at_once=at_once, addresses=addresses, hsm_ops=hsm_ops,
            control=control,
        )  # fmt: skip
        screen = StormScreen(console)
        try:
            data = storm(order, order.province(), screen.tell)
        except OSError as error:
            raise BadOrder(f"{asked.host or directory}: {error.strerror or error}") from None
        screen.end(data)
        _write(data, asked.json_to, asked.out)
    if not data["signed_in"]:
        return UNREACHABLE
    if data["lost"]:
        return LOST
    return LEFT_OPEN if data["failed"] else DONE


def _played(order: Order, out: Path | None, console: Console) -> dict[str, Any]:
    screen = Screen(console, order.seconds)

    async def play() -> dict[str, Any]:
        run = (FieldRun if isinstance(order, FieldOrder) else Run)(order, screen.tell)
        try:
            return await run.play()
        finally:
            if out is not None:
                run.write(out)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if not console.is_terminal:
            return runner.run(play())
        with Live(screen, console=console, refresh_per_second=4):
            return runner.run(play())


def _write(data: dict[str, Any], json_to: str, out: Path | None) -> None:
    try:
        write_json(data, json_to)
        if out is not None:
            write_json(data, str(out / FIGURES))
    except OSError as error:
        raise BadOrder(f"{error.filename}: {error.strerror}") from None


def write_json(data: Any, json_to: str) -> None:
    """Write figures as JSON: to stdout for "-", nowhere for "", else to this file. Raises OSError."""
    text = json.dumps(data, ensure_ascii=False, indent=1)
    if json_to == "-":
        typer.echo(text)
    elif json_to:
        Path(json_to).write_text(text + "\n", encoding="utf-8")


def ended(text: str, code: int) -> typer.Exit:
    """Say on stderr why the run ends, one line a reason."""
    errors = Console(stderr=True, highlight=False)
    for line in text.splitlines():
        errors.print(f"shoudan: {line}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(code)


def register(app: typer.Typer) -> None:
    """Add `shoudan fleet`."""
    app.command()(fleet)
