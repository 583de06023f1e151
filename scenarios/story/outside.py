"""What is done from outside the terminals' dialogues: raw messages, a host's own traffic, the operator's hand."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from scenarios.story.booth import Act, Booth
from scenarios.story.flows import Unfit
from scenarios.story.seal import POS_MAC, set_field
from scenarios.story.shape import Block
from scenarios.story.witness import TERMINAL, Message
from switch.engine.counterpart import wire_time
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import Deframer, NetworkHeader
from switch.wire.private_network import KeyResetControl, write_53_reset
from switch.wire.transactions import BY_NAME
from terminals.device.dialogue import (
    SILENCE,
    SWIPED,
    Outcome,
    administration,
    plain,
    reason_of,
    request_fields,
    reversal_fields,
)
from terminals.device.memory import Item, Memory
from terminals.flow import Call, Flow

if TYPE_CHECKING:
    from scenarios.story.perform import Player
    from scenarios.story.stage import Stage
    from scenarios.world.host import Host

_LEAP_YEAR: Final = 2028
_HOST_STAN: Final = 900_000
WINDOW_S: Final = 1.0
_ECHO: Final = "301"
LINE_TEST, SIGN_OFF = "301", "002"
DRAIN_S: Final = 10.0
_ORDERS: Final = {"sign-on": "001", "sign-off": SIGN_OFF, "key-reset": "101", "line-test": LINE_TEST}


# raw messages


def sent_raw(player: "Player", booth: Booth, step: Block, act: Act) -> Flow[Outcome]:
    """The dialogue that sends one message as the step writes it. Raises Unfit."""
    told, stage = step["send"], player.stage
    wait = step.get("wait", stage.line.timeout_s)
    if "raw" in told:
        return _unframed(booth, bytes.fromhex(told["raw"].replace(" ", "")), wait)
    mti, fields = _like(player, booth, step, act)
    mti = told.get("mti", mti)
    draft = _draft(stage, TERMINAL, booth.till.name)
    for place, text in told.get("fields", {}).items():
        set_field(draft, fields, place, player.value(text))
    for de in told.get("without", ()):
        fields.pop(de, None)
    how = told.get("mac") or ("right" if POS_MAC in fields or mti[1] in "124" else "none")
    body = stage.seals.body(TERMINAL, booth.till.name, mti, fields, how)
    return _asked(body, wait)


def _draft(stage: "Stage", leg: str, name: str) -> Message:
    """A message without bytes: what a field of its leg is written by."""
    return Message(0, 0.0, leg, name, True, b"", stage.witness.framings[leg], stage.witness.codecs[leg])


def _asked(body: bytes, wait_s: float) -> Flow[Outcome]:
    try:
        reply = yield Call(body, wait_s)
    except SILENCE as error:
        return Outcome("send", "unknown", reason=reason_of(error))
    return Outcome("send", "approved", fields={0: reply})


def _unframed(booth: Booth, data: bytes, wait_s: float) -> Flow[Outcome]:
    """Bytes as they are, over the terminal's connection; an answer is waited for as to what they hold, if anything."""
    line = booth.line
    try:
        body = Deframer(line.framing).feed(data)[0].body
        line.codec.decode(body)
    except (FrameError, DecodeError, IndexError):
        body = plain(line, "0820", administration(booth.memory, _ECHO))
    booth.line = _AsIs(line, data)  # type: ignore[assignment]
    try:
        return (yield from _asked(body, wait_s))
    finally:
        booth.line = line


class _AsIs:
    """A line whose next request is these bytes."""

    def __init__(self, line: Any, data: bytes) -> None:
        self._line, self._data = line, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    def wrap(self, body: bytes) -> bytes:
        """The bytes."""
        return self._data


def _like(player: "Player", booth: Booth, step: Block, act: Act) -> tuple[str, dict[int, Any]]:
    """MTI and fields of a message filled as a dialogue would fill it."""
    told, memory, line = step["send"], booth.memory, player.stage.line
    like = told.get("like")
    if like is None:
        return told.get("mti", "0200"), {41: memory.tid, 42: memory.mid}
    stan = memory.next_stan()
    if like == "sign-in":
        section = line.protection(memory.suite).section
        return "0800", administration(memory, section.sign_in_code) | {11: stan, 63: line.operator}
    if like == "echo":
        return "0820", administration(memory, _ECHO)
    earlier = player.named.get(told.get("of", ""))
    if like == "reversal":
        if earlier is None or earlier.item is None:
            raise Unfit("a reversal speaks of an earlier transaction (of: its name)")
        return "0400", {
            **reversal_fields(memory, line, earlier.item, line.profile.reversal.no_reply),
            POS_MAC: bytes(8),
        }
    return _request(player, step, act, memory, stan, like.replace("-", "_"), earlier)


def _request(
    player: "Player", step: Block, act: Act, memory: Memory, stan: str, kind: str, earlier: Act | None
) -> tuple[str, dict[int, Any]]:
    holders, line, row = player.stage.troupe.holders, player.stage.line, BY_NAME[kind]
    name = step.get("card") or (next(iter(holders)) if len(holders) == 1 else None)
    if name is None:
        raise Unfit(f"send: which card? (card: one of {', '.join(holders)})")
    card, pin = holders[name].card, step.get("pin", "none")
    act.card, act.holder = card, name
    digits = "" if pin == "none" else card.pin if pin == "right" else f"{(int(card.pin) + 1) % 10**6:06d}"
    source = earlier.item if earlier is not None else None
    if row.original and source is None:
        raise Unfit(f"{kind} speaks of an earlier transaction (of: its name)")
    item = Item(
        kind, memory.batch, stan, step.get("amount", 0), (row.entry or SWIPED) + ("1" if digits else "2"), card.pan,
        card.expiry, source.name() if source is not None and row.original else None, source,
    )  # fmt: skip
    track = "" if row.entry else card.track2
    return row.mti, {**request_fields(memory, line, item, track, digits), POS_MAC: bytes(8)}


def frame_from_host(stage: "Stage", name: str, told: Mapping[str, Any], value: Callable[[str], str] = str) -> None:
    """A host says something of its own to the switch; `value` puts in what was captured. Raises Unfit for no line."""
    host = stage.centres[name]
    plug = next((plug for plug in host.plugs.values() if not plug.link.closed), None)
    if plug is None:
        raise Unfit(f"{name} has no line to the switch")
    if "raw" in told:
        plug.end.send(bytes.fromhex(told["raw"].replace(" ", "")))
        return
    if "mti" not in told:
        raise Unfit("a host's message has its MTI (send: {mti: ...})")
    profile = stage.ground.networks[name]
    fields: dict[int, Any] = {
        **_numbers(stage, host), 33: profile.forwarder, 100: profile.forwarder,
    }  # fmt: skip
    draft = _draft(stage, name, name)
    for place, text in told.get("fields", {}).items():
        set_field(draft, fields, place, value(text))
    for de in told.get("without", ()):
        fields.pop(de, None)
    body = stage.seals.body(name, name, told["mti"], fields, told.get("mac", "none"))
    head = NetworkHeader(
        version=profile.header.version, destination=profile.header.source, source=profile.header.destination
    )
    header = head.build(len(body)) if profile.framing.header else b""
    plug.end.send(stage.witness.framings[name].wrap(body, header))


# a host's operator


def by_host(stage: "Stage", step: Block) -> None:
    """What a counterpart begins by itself. Raises Unfit."""
    name, ask = step["host"], step["ask"]
    host = stage.centres[name]
    if not host.up:
        raise Unfit(f"{name} is down")
    if ask == "key-reset":
        done = host.call(lambda machine, now, out: machine.reset_keys(now, out))
        if not done:
            raise Unfit(f"{name} has no line that has signed on")
    elif ask == "cut-over":
        _cut_over(stage, name, step)
    else:
        code = LINE_TEST if ask == "line-test" else SIGN_OFF
        frame_from_host(stage, name, {"mti": "0820", "fields": {"70": code}, "without": [100]})


def _cut_over(stage: "Stage", name: str, step: Block) -> None:
    today = stage.centres[name].machine.settlement_date
    fresh = step.get("date") or f"{date(_LEAP_YEAR, int(today[:2]), int(today[2:])) + timedelta(days=1):%m%d}"
    window = step.get("window", WINDOW_S)
    try:
        done = stage.centres[name].call(lambda machine, now, out: machine.cutover(fresh, window, now, out))
    except ValueError as error:
        raise Unfit(str(error)) from None
    if not done:
        raise Unfit(f"{name} is changing its day already, or has that day")
    stage.ground.dates[name] = fresh


# the switch's operator


def by_operator(stage: "Stage", step: Block) -> None:
    """What the switch's operator orders. Raises Unfit.

    Management messages are put on the line beside the engine, as an operator's tool would: the engine hears their
    answers and does not take them for its own.
    """
    order, name = step["switch"], step.get("line", "cups")
    if order == "drain":
        stage.switch.drain(lambda machine: machine.status()["inflight"], DRAIN_S)
        return
    plug = next((one for one in stage.switch.plugs.values() if one.link.name == name and not one.link.closed), None)
    if plug is None:
        raise Unfit(f"the switch has no line to {name}")
    profile = stage.ground.networks[name]
    fields: dict[int, Any] = {**_numbers(stage, stage.switch), 33: profile.forwarder, 70: _ORDERS[order]}
    if order == "key-reset":
        fields[53] = write_53_reset(KeyResetControl("2", profile.keys.algorithm_digit))
    body = stage.witness.codecs[name].encode("0820", dict(sorted(fields.items())))
    section = profile.header
    head = NetworkHeader(version=section.version, destination=section.destination, source=section.source)
    header = head.build(len(body)) if profile.framing.header else b""
    plug.end.send(stage.witness.framings[name].wrap(body, header))


def _numbers(stage: "Stage", host: "Host") -> dict[int, Any]:
    """DE7 and DE11 of a message that nobody's engine has numbered."""
    return {7: wire_time(stage.wall_of(host)), 11: f"{_HOST_STAN + len(stage.witness.messages) % 99_999:06d}"}
