"""`shoudan send`: messages to any host, PIN and MAC put in under given keys, the decoded answer out."""

import json
import socket
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from rich.console import Console
from rich.text import Text as Styled

from switch.app.decode import (
    BAD_USAGE,
    FAILED,
    Decoded,
    Source,
    SourceError,
    as_object,
    console_for,
    parse_hex,
    print_reading,
)
from switch.app.detect import Reading, framing_name, read_frame
from switch.app.explain import Lang
from switch.app.outgoing import Keys, Line, Order, Suite, profile_for, read_orders
from switch.crypto.errors import CryptoError
from switch.wire.errors import FrameError, WireError
from switch.wire.framing import Deframer, Frame
from switch.wire.redact import masked

_CHUNK = 65536


class NoAnswer(Exception):
    """The host did not answer; the text says how."""


class Answer(NamedTuple):
    """One exchange: what came back, whether its MAC holds, how long it took, and what else came before it."""

    reading: Reading
    mac: str
    elapsed_ms: float
    skipped: tuple[str, ...]

    @property
    def good(self) -> bool:
        """A whole answer whose MAC is not wrong."""
        return self.reading.error is None and self.mac != "wrong"


def parse_host(text: str) -> tuple[str, int]:
    """`host:port`, or `[host]:port`. Raises SourceError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise SourceError("--host is host:port, as in 127.0.0.1:5000")
    return host.strip("[]"), int(port)


def parse_key(text: str | None, option: str, sizes: tuple[int, ...]) -> bytes:
    """A key in hex, b"" for none. Raises SourceError, which never holds it."""
    if not text:
        return b""
    try:
        key = parse_hex(text)
    except SourceError:
        raise SourceError(f"{option} is not hexadecimal") from None
    if len(key) not in sizes:
        raise SourceError(f"{option} has {len(key)} bytes, {' or '.join(map(str, sizes))} wanted")
    return key


def read_keys(suite: Suite, mak: str | None, pik: str | None, pin: str | None) -> Keys:
    """The keys of the command line or the environment. Raises SourceError."""
    sizes = (16,) if suite == "sm4" else (8, 16, 24)
    keys = Keys(suite, parse_key(mak, "--mak", sizes), parse_key(pik, "--pik", sizes), pin or "")
    if keys.pin and not keys.pik:
        raise SourceError("--pin needs --pik (or SHOUDAN_PIK), the key it is enciphered under")
    return keys


def _input(argument: str) -> str:
    if argument == "-":
        return typer.get_text_stream("stdin", errors="replace").read()
    if argument.lstrip()[:1] in ("{", "["):
        return argument
    try:
        parse_hex(argument)
        return argument
    except SourceError as fault:
        try:
            return Path(argument).read_text(encoding="utf-8-sig", errors="replace")
        except (OSError, ValueError):
            raise SourceError(f"neither JSON, nor hexadecimal ({fault}), nor a file that can be read") from None


class Wire:
    """One blocking connection with a deadline for each exchange."""

    def __init__(self, host: tuple[str, int], line: Line, timeout_s: float) -> None:
        self._line = line
        self._timeout_s = timeout_s
        self._deframer = Deframer(line.framing)
        self._waiting: list[Frame] = []
        try:
            self._socket = socket.create_connection(host, timeout_s)
        except OSError as error:
            raise NoAnswer(f"no connection to {host[0]}:{host[1]}: {_why(error)}") from None

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def exchange(self, order: Order, frame: bytes) -> Answer:
        """Send one frame and wait for its answer. Raises NoAnswer."""
        start = time.monotonic()
        deadline = start + self._timeout_s
        skipped: list[str] = []
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(frame)
            while True:
                reading = read_frame(self._next(deadline), self._line.dialect, framing_name(self._line.framing))
                # Other traffic may stand before the answer on a network line, never on a terminal's.
                if self._line.packed or reading.error is not None or _answers(order, reading):
                    break
                skipped.append(str(reading.mti))
        except OSError as error:
            raise NoAnswer(_why(error)) from None
        except FrameError as error:
            raise NoAnswer(f"what came is not a frame of this link: {error}") from None
        elapsed_ms = (time.monotonic() - start) * 1000
        mac = "unchecked" if reading.message is None else self._line.check_mac(reading.message)
        return Answer(reading, mac, elapsed_ms, tuple(skipped))

    def _next(self, deadline: float) -> Frame:
        while not self._waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(_CHUNK)
            if not data:
                raise NoAnswer("the host closed the connection without an answer")
            self._waiting += self._deframer.feed(data)
        return self._waiting.pop(0)


def _answers(order: Order, reading: Reading) -> bool:
    message = reading.message
    if message is None:
        return False
    expected = f"{order.mti[:2]}{int(order.mti[2]) + 1}{order.mti[3]}"
    return message.mti == expected and message.get(11) == order.fields.get(11)


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time; --timeout gives it longer"
    return (error.strerror or type(error).__name__).lower()


def answer_object(mti: str, fields: dict[int, Any], answer: Answer, lang: Lang, unsafe: bool) -> dict[str, Any]:
    """The decoded answer as an object, with `mac`, `elapsed_ms` and the masked request (MTI, fields) beside it."""
    out = as_object(Decoded(Source(b"", 0), answer.reading, None), lang, unsafe)
    out |= {"mac": answer.mac, "elapsed_ms": round(answer.elapsed_ms, 3)}
    if answer.skipped:
        out["skipped"] = list(answer.skipped)
    return out | {"request": {"mti": mti, "fields": {str(de): masked(de, fields[de]) for de in sorted(fields)}}}


_MAC_TEXT = {
    "right": ("MAC of the answer: right", "green"),
    "wrong": ("MAC of the answer: WRONG under this key", "bold red"),
    "absent": ("MAC of the answer: none", "dim"),
    "unchecked": ("MAC of the answer: not checked, no --mak", "dim"),
}


def _print_answer(console: Console, order: Order, answer: Answer, lang: Lang, unsafe: bool) -> None:
    for mti in answer.skipped:
        console.print(f"skipped a {mti} that is not the answer", style="dim")
    console.print(f"{order.mti} answered after {answer.elapsed_ms:.1f} ms")
    print_reading(console, Decoded(Source(b"", 0), answer.reading, None), lang, unsafe)
    text, style = _MAC_TEXT[answer.mac]
    console.print(Styled(f"  {text}", style=style))


def send(
    source: Annotated[str, typer.Argument(metavar="JSON|HEX|FILE|-", help="Message(s): mti and fields, or hex.")],
    host: Annotated[str, typer.Option("--host", metavar="H:P", help="Where to.")],
    profile: Annotated[str | None, typer.Option(help="Profile of the link: a shipped name or a file.")] = None,
    mak: Annotated[str | None, typer.Option(envvar="SHOUDAN_MAK", metavar="HEX", help="MAC key, in clear.")] = None,
    suite: Annotated[Literal["3des", "sm4"], typer.Option(help="Algorithm suite of the keys.")] = "3des",
    pik: Annotated[str | None, typer.Option(envvar="SHOUDAN_PIK", metavar="HEX", help="PIN key, in clear.")] = None,
    pin: Annotated[str | None, typer.Option(envvar="SHOUDAN_PIN", metavar="PIN", help="PIN to encipher.")] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each answer.")] = 30.0,
    tpdu: Annotated[str | None, typer.Option(metavar="HEX", help="TPDU, 5 bytes, instead of the profile's.")] = None,
    lang: Annotated[Literal["zh", "en", "both"], typer.Option(help="Language of names and meanings.")] = "both",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Print card numbers and tracks in clear.")] = False,
) -> None:
    """Send messages to a host and print the decoded answers (报文发送); several go one after the other.

    A PIN block and a MAC are put in where keys are given, the answer's MAC is checked. Keys and PIN may stand in
    SHOUDAN_MAK, SHOUDAN_PIK and SHOUDAN_PIN, out of the process list. Exit codes: 0 answered, 1 no answer, one that
    does not decode or a wrong MAC, 2 bad usage.
    """
    try:
        orders = read_orders(_input(source))
        keys = read_keys(suite, mak, pik, pin)
        target = parse_host(host)
        line = Line(profile_for(profile, orders), keys, parse_key(tpdu, "--tpdu", (5,)))
        frames = [line.build(order) for order in orders]
    except (SourceError, WireError, CryptoError, OSError) as error:
        typer.echo(f"shoudan send: {error}", err=True)
        raise typer.Exit(BAD_USAGE) from None
    answers: list[Answer] = []
    fault = ""
    try:
        with Wire(target, line, timeout) as wire:
            for order, frame in zip(orders, frames, strict=True):
                answers.append(wire.exchange(order, frame))
    except NoAnswer as error:
        fault = str(error)
    if as_json:
        _print_json(line, orders, answers, lang, unsafe)
    else:
        console = console_for()
        for order, answer in zip(orders, answers, strict=False):
            _print_answer(console, order, answer, lang, unsafe)
    if fault:
        typer.echo(f"shoudan send: {fault}", err=True)
    if fault or not all(answer.good for answer in answers):
        raise typer.Exit(FAILED)


def _print_json(line: Line, orders: list[Order], answers: list[Answer], lang: Lang, unsafe: bool) -> None:
    objects = [
        answer_object(order.mti, line.fields_of(order), answer, lang, unsafe)
        for order, answer in zip(orders, answers, strict=False)
    ]
    if objects:
        typer.echo(json.dumps(objects[0] if len(orders) == 1 else objects, ensure_ascii=False, indent=1))
