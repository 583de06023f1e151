"""`shoudan tap` and `shoudan insert`: one transaction of one card, told byte by byte and bit by bit."""

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Console

from switch.wire.errors import WireError
from terminals.card.mint import CardFault, ProfileFault, read_cards
from terminals.cli import BadOrder, KekFile, TlsCa, address, pos_profile, tls_of, transport_keys
from terminals.device.dialogue import Line
from terminals.drive.blocking import Session
from terminals.fleet import memory_of
from terminals.kernel.session import Request
from terminals.look.chosen import Chosen, Issued, from_file, from_portfolio, issued_of
from terminals.look.document import document
from terminals.look.glass import Order, Taken, look
from terminals.look.hosted import KINDS, NotSent, look_through
from terminals.look.issuer import SCRIPTS, Arpc, read_script
from terminals.look.kept import read_state, write_state
from terminals.look.screen import Lang, Screen
from terminals.look.setting import Setting, SettingFault, read_setting
from terminals.own import own_terminals

APPROVED, NOT_APPROVED, BAD_USAGE, UNREACHABLE = 0, 1, 2, 3
SEED: Final = 20130501
_MINOR_MAX: Final = 10**12 - 1

Card = Annotated[
    str, typer.Option(metavar="PROFILE|N|I:N", help="Portfolio: the first card of a profile, card N of issuer I.")
]
Cards = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Your card file; --card is then a place in it, from 1.")
]
Seed = Annotated[int, typer.Option(help="The portfolio's seed, and that of all chance: the same seed, the same bytes.")]
Terminal = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="shop, offline, bus, atm, no-oda, 3des, or a TOML file.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One key of the terminal (again for more).")
]
Amount = Annotated[str, typer.Option(metavar="YUAN", help="9F02.")]
Other = Annotated[str, typer.Option(metavar="YUAN", help="9F03, cashback.")]
Type9C = Annotated[
    str, typer.Option("--type", metavar="HEX", help="9C: 00 sale, 01 cash, 09 cashback, 60 62 63 loads.")
]
Currency = Annotated[str, typer.Option(metavar="DIGITS", help="5F2A.")]
Date = Annotated[str, typer.Option(metavar="YYMMDD", help="9A; without it today.")]
Time = Annotated[str, typer.Option(metavar="HHMMSS", help="9F21; without it now.")]
Online = Annotated[bool, typer.Option("--online", help="The merchant wants to go online.")]
NoEcash = Annotated[bool, typer.Option("--no-ecash", help="Do not take electronic cash.")]
Balance = Annotated[str, typer.Option(metavar="YUAN", help="Electronic cash on the card beforehand.")]
Atc = Annotated[int | None, typer.Option(min=0, max=65000, help="The card's transaction counter so far.")]
State = Annotated[Path | None, typer.Option(metavar="FILE", help="The card's memory: read first, and kept afterwards.")]
Pin = Annotated[str | None, typer.Option(help="What the holder enters; without it the right PIN, empty for none.")]
Arc = Annotated[str, typer.Option(metavar="CODE|none", help="What the stand-in issuer answers; none: it is silent.")]
ArpcHow = Annotated[Literal["good", "wrong", "none"], typer.Option("--arpc", help="The stand-in issuer's ARPC.")]
Scripts = Annotated[
    list[str] | None,
    typer.Option(
        "--script", metavar="COMMAND", help=f"An issuer script: {', '.join(SCRIPTS)}, TAG=HEX (again for more)."
    ),
]
Issuer = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A card file with what the issuer holds (keys, sequence number).")
]
Enrolled = Annotated[bool, typer.Option("--enrolled", help="The merchant takes small sales without PIN (双免).")]
Tear = Annotated[int | None, typer.Option(min=1, metavar="N", help="The card leaves with answer N, and comes back.")]
Host = Annotated[str, typer.Option(metavar="HOST:PORT", help="Go through a running switch; --terminals is needed.")]
Terminals = Annotated[Path | None, typer.Option(metavar="FILE", help="terminals.csv: the terminal, its wrapped key.")]
Tid = Annotated[str, typer.Option(metavar="TID", help="Which terminal of the file; without it the first.")]
Profile = Annotated[str, typer.Option(metavar="NAME|FILE", help="How the host speaks.")]
Kind = Annotated[str, typer.Option(metavar="KIND", help=f"Through a switch: {', '.join(KINDS)}.")]
TlsCert = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With --tls-ca: the terminal's certificate and key (PEM).")
]
Crypto = Annotated[bool, typer.Option("--crypto", help="The cryptogram from the inside. Shows keys of invented cards.")]
Language = Annotated[Literal["zh", "en", "both"], typer.Option("--lang", help="Language of names and reasons.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, nothing cut short.")]


def register(app: typer.Typer) -> None:
    """Add this room's subcommands to the `shoudan` command."""
    app.command("tap")(tap)
    app.command("insert")(insert)


def tap(
    card: Card = "dual",
    cards: Cards = None,
    seed: Seed = SEED,
    terminal: Terminal = "shop",
    over: Set = None,
    amount: Amount = "10.00",
    other: Other = "0",
    type_9c: Type9C = "00",
    currency: Currency = "0156",
    date: Date = "",
    time: Time = "",
    online: Online = False,
    balance: Balance = "",
    atc: Atc = None,
    state: State = None,
    pin: Pin = None,
    enrolled: Enrolled = False,
    issuer: Issuer = None,
    arc: Arc = "00",
    tear: Tear = None,
    host: Host = "",
    terminals: Terminals = None,
    tid: Tid = "",
    kek_file: KekFile = None,
    profile: Profile = "unionpay-pos",
    kind: Kind = "sale",
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    crypto: Crypto = False,
    lang: Language = "both",
    as_json: AsJson = False,
) -> None:
    """Hold one card to a reader (挥卡): every command and answer, every bit and why, certificates, cryptogram.

    In memory, with an issuer that verifies, or with --host through a running switch. Exit codes: 0 approved, 1 not
    approved, 2 bad usage, 3 the host could not be reached or let the terminal in.
    """
    _run("contactless", locals(), crypto, lang, as_json)


def insert(
    card: Card = "dual",
    cards: Cards = None,
    seed: Seed = SEED,
    terminal: Terminal = "shop",
    over: Set = None,
    amount: Amount = "10.00",
    other: Other = "0",
    type_9c: Type9C = "00",
    currency: Currency = "0156",
    date: Date = "",
    time: Time = "",
    online: Online = False,
    no_ecash: NoEcash = False,
    balance: Balance = "",
    atc: Atc = None,
    state: State = None,
    pin: Pin = None,
    issuer: Issuer = None,
    arc: Arc = "00",
    arpc: ArpcHow = "good",
    script: Scripts = None,
    tear: Tear = None,
    host: Host = "",
    terminals: Terminals = None,
    tid: Tid = "",
    kek_file: KekFile = None,
    profile: Profile = "unionpay-pos",
    kind: Kind = "sale",
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    crypto: Crypto = False,
    lang: Language = "both",
    as_json: AsJson = False,
) -> None:
    """Put one card into a reader (插卡): every command and answer, every bit and why, certificates, cryptogram.

    In memory, with an issuer that verifies and answers, or with --host through a running switch. Exit codes: 0
    approved, 1 not approved, 2 bad usage, 3 the host could not be reached or let the terminal in.
    """
    _run("contact", locals(), crypto, lang, as_json)


def _run(
    interface: Literal["contact", "contactless"], given: dict[str, Any], crypto: bool, lang: Lang, as_json: bool
) -> None:
    name = "insert" if interface == "contact" else "tap"
    try:
        order = _order(interface, given)
        taken = _through(order, given) if given["host"] else look(order)
        if order.memory is not None:
            write_state(given["state"], order.chosen.image, order.memory)
    except (BadOrder, CardFault, ProfileFault, SettingFault, WireError) as fault:
        typer.echo(f"shoudan {name}: {fault}", err=True)
        raise typer.Exit(BAD_USAGE) from None
    except NotSent as fault:
        typer.echo(f"shoudan {name}: {given['host']}: {fault}", err=True)
        raise typer.Exit(UNREACHABLE) from None
    _tell(taken, crypto, lang, as_json)
    raise typer.Exit(APPROVED if taken.approved else NOT_APPROVED)


def _through(order: Order, given: dict[str, Any]) -> Taken:
    """The order as a terminal of terminals.csv takes it to a switch. Raises BadOrder, WireError, CardFault, NotSent."""
    if given["terminals"] is None:
        raise BadOrder("--host: --terminals is needed too, to have a terminal that may call")
    if given["kind"] not in KINDS:
        raise BadOrder(f"--kind {given['kind']}: one of {', '.join(KINDS)}")
    place, port = address(given["host"])
    spoken = pos_profile(given["profile"])
    listed = own_terminals(given["terminals"], transport_keys(given["kek_file"]), spoken.suites)
    terminal = next((one for one in listed if given["tid"] in ("", one.tid)), None)
    if terminal is None:
        raise BadOrder(f"--tid {given['tid']}: {given['terminals'].name} has no such terminal")
    memory = memory_of(terminal)
    # The batch may still be open from an earlier look: its numbers must not come again.
    memory.stan = int(order.request.time)
    line = Line(spoken)
    session = Session(line, place, port, tls=tls_of(given["tls_ca"], given["tls_cert"]))
    try:
        return look_through(order, given["kind"], memory, line, session)
    finally:
        session.close()


def _tell(taken: Taken, crypto: bool, lang: Lang, as_json: bool) -> None:
    told = document(taken, crypto)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
        return
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    Screen(Console(width=wide, highlight=False), lang).show(told)


def _order(interface: Literal["contact", "contactless"], given: dict[str, Any]) -> Order:
    """What was asked for, checked. Raises BadOrder, CardFault, SettingFault."""
    chosen = _chosen(given)
    tear = given["tear"]
    arpc: Arpc = given.get("arpc", "good")
    balance = given["balance"]
    setting = read_setting(given["terminal"], given["over"] or ())
    return Order(
        interface=interface,
        chosen=chosen,
        setting=setting,
        request=_request(given, chosen, setting),
        issued=_issued(given["issuer"], chosen),
        seed=given["seed"],
        arc=None if given["arc"] == "none" else _code(given["arc"]),
        arpc=arpc,
        tear=tear,
        pin=_pin(given["pin"]),
        balance_minor=minor(balance, "--balance") if balance else None,
        atc=given["atc"],
        scripts=tuple(_script(text) for text in given.get("script") or ()),
        memory=read_state(given["state"], chosen.image) if given["state"] is not None else None,
    )


def _chosen(given: dict[str, Any]) -> Chosen:
    if given["cards"] is None:
        return from_portfolio(given["seed"], given["card"])
    return from_file(given["cards"], "1" if given["card"] == "dual" else given["card"])


def _issued(path: Path | None, chosen: Chosen) -> Issued:
    """What the issuer believes: the card's own, or the card of the same number in another file."""
    if path is None:
        return chosen.issued
    for card in read_cards(path):
        if card.personal.pan == chosen.issued.pan:
            return issued_of(card)
    raise BadOrder(f"--issuer {path.name}: holds no card with this number")


def _request(given: dict[str, Any], chosen: Chosen, setting: Setting) -> Request:
    now = datetime.now()
    type_9c = given["type_9c"]
    if len(type_9c) != 2 or any(digit not in "0123456789abcdefABCDEF" for digit in type_9c):
        raise BadOrder("--type: two hexadecimal digits")
    currency = _digits(given["currency"], 4, "--currency")
    pan = chosen.issued.pan
    enrolled = bool(given.get("enrolled"))
    return Request(
        minor(given["amount"], "--amount"),
        _digits(given["date"] or now.strftime("%y%m%d"), 6, "--date"),
        _digits(given["time"] or now.strftime("%H%M%S"), 6, "--time"),
        other_minor=minor(given["other"], "--other"),
        type_9c=int(type_9c, 16),
        currency=currency,
        merchant_name=setting.merchant,
        force_online=given["online"],
        e_cash=not given.get("no_ecash", False),
        enrolled=enrolled,
        small_bins=(pan[:6],) if enrolled else (),
    )


def minor(text: str, option: str) -> int:
    """ "123.45" in minor units. Raises BadOrder."""
    whole, _, part = text.partition(".")
    part = part.ljust(2, "0")
    if not ((whole + part).isascii() and whole.isdigit() and part.isdigit() and len(part) == 2):
        raise BadOrder(f"{option} {text!r}: yuan, as 12.34")
    value = int(whole) * 100 + int(part)
    if value > _MINOR_MAX:
        raise BadOrder(f"{option}: at most {_MINOR_MAX // 100}.99")
    return value


def _digits(text: str, size: int, option: str) -> str:
    if not (len(text) == size and text.isascii() and text.isdigit()):
        raise BadOrder(f"{option} {text!r}: {size} digits")
    return text


def _code(text: str) -> str:
    if not (len(text) == 2 and text.isascii() and text.isalnum()):
        raise BadOrder(f"--arc {text!r}: two letters or digits, or none")
    return text


def _script(text: str) -> str:
    try:
        return read_script(text)
    except ValueError as fault:
        raise BadOrder(f"--script {text}: {fault}") from None


def _pin(text: str | None) -> str | None:
    if text and not (4 <= len(text) <= 12 and text.isascii() and text.isdigit()):
        raise BadOrder("--pin: 4 to 12 digits, or empty")
    return text
