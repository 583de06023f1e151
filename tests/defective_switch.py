"""Our own switch with one thing wrong with it: what the sandwich is to find.

In memory `plant(engine, name)` gives the machine to use in the engine's place. As a process:
`python tests/defective_switch.py SWITCH.toml DEFECT [DEFECT...]`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from switch.engine.counterpart import Counterpart
from switch.engine.engine import Engine
from switch.machine import Link, Now, Out, Send
from switch.wire.mab import network_mab
from switch.wire.private import read_new_pin
from switch.wire.profile import NetworkCodes

EVERY = 5
"""Of answers that go astray or get lost, one in so many does."""

WRONG_MCC = "9999"


class Wrapped:
    """Something with a part of it replaced."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __contains__(self, label: str) -> bool:
        return label in self.inner


Change = Callable[[str, dict[int, Any]], tuple[str, dict[int, Any]] | None]


def on_lines(engine: Engine, change: Change) -> None:
    """Change every financial message and reversal before its MAC is made; None keeps it back."""
    for counterpart in engine.office.counterparts.values():
        on_line(counterpart, change)


def on_line(counterpart: Counterpart, change: Change, restore: Callable[[dict[int, Any]], None] | None = None) -> None:
    """`on_lines` for one; `restore` changes what comes back, with a MAC that fits again."""
    send_as_it_is, read_as_it_is = counterpart.send, counterpart.read

    def send(mti: str, fields: dict[int, Any], out: Out, after: int = 0, mac: bool = True, line: Any = None) -> None:
        changed = change(mti, dict(fields)) if mti[:2] != "08" else (mti, fields)
        if changed is not None:
            send_as_it_is(*changed, out, after, mac, line)

    def read(frame: Any) -> Any:
        message, reject = read_as_it_is(frame)
        if restore is not None and message.mti[:2] != "08" and counterpart.mac_holds(message, 0.0):
            restore(message.fields)
            message.fields[128] = counterpart.mac(message.mti, message.fields)
        return message, reject

    counterpart.send, counterpart.read = send, read  # type: ignore[method-assign]


def setting(**changes: Any) -> Callable[[Engine], Engine]:
    """Lines whose profile says something else."""

    def plant(engine: Engine) -> Engine:
        for counterpart in engine.office.counterparts.values():
            counterpart.profile = msgspec.structs.replace(counterpart.profile, **changes)
        return engine

    return plant


def changing(change: Change) -> Callable[[Engine], Engine]:
    def plant(engine: Engine) -> Engine:
        on_lines(engine, change)
        return engine

    return plant


def dropping(de: int) -> Callable[[Engine], Engine]:
    def change(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
        fields.pop(de, None)
        return mti, fields

    return changing(change)


def keeps_processing_code(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
    if fields[3] == "300000":
        fields[3] = "310000"
    return mti, fields


def takes_machines_for_pos(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
    """DE60.2.5 is a POS's everywhere."""
    if mti != "0420" and fields.get(25) == "02":
        fields[60] = fields[60][:8] + "03" + fields[60][10:]
    return mti, fields


def forgets_what_is_confirmed(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
    """The confirmation of a deposit names no deposit."""
    if mti == "0220" and fields[3] == "210000":
        fields.pop(90, None)
    return mti, fields


def spoils_new_pins(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
    """Of a PIN change the PIN arrives, and the new one does not."""
    if fields[3] == "700000":
        block = read_new_pin(63, fields[63])
        fields[63] = fields[63].replace(block, bytes(len(block)))
    return mti, fields


def wrong_merchant_type(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
    fields[18] = WRONG_MCC
    return mti, fields


def keeps_separator(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
    if 35 in fields:
        fields[35] = fields[35].replace("=", "D")
    return mti, fields


def keeps_reversals_back(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]] | None:
    return None if mti == "0420" else (mti, fields)


def track_in_reversals(engine: Engine) -> Engine:
    tracks: dict[str, str] = {}

    def change(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
        if mti == "0420" and fields[37] in tracks:
            fields[35] = tracks[fields[37]]
        elif 35 in fields:
            tracks[fields[37]] = fields[35]
        return mti, fields

    on_lines(engine, change)
    return engine


def rounds_amounts(engine: Engine) -> Engine:
    """To whole yuan on the lines, and back in their answers, so that the switch itself notices nothing."""
    exact: dict[str, str] = {}

    def change(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
        if 4 in fields:
            exact[fields[37]] = fields[4]
            fields[4] = f"{int(fields[4]) // 100 * 100:012d}"
        return mti, fields

    def restore(fields: dict[int, Any]) -> None:
        if 4 in fields:
            fields[4] = exact[fields[37]]

    for counterpart in engine.office.counterparts.values():
        on_line(counterpart, change, restore)
    return engine


def keeps_trace_number(engine: Engine) -> Engine:
    """The terminal's DE11 on the line; inside, and in DE7, everything stays as it is."""

    def plant_on(counterpart: Counterpart) -> None:
        shown: dict[tuple[str, str], str] = {}
        inside: dict[tuple[str, str], str] = {}

        def change(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
            exchange = engine.office.books.by_rrn.get(fields[37])
            if mti != "0420" and exchange is not None:
                shown[fields[7], fields[11]], inside[fields[7], exchange.stan] = exchange.stan, fields[11]
                fields[11] = exchange.stan
            if 90 in fields:
                named = fields[90]
                fields[90] = named[:4] + shown.get((named[10:20], named[4:10]), named[4:10]) + named[10:]
            return mti, fields

        def restore(fields: dict[int, Any]) -> None:
            fields[11] = inside.get((fields[7], fields[11]), fields[11])

        on_line(counterpart, change, restore)

    for counterpart in engine.office.counterparts.values():
        plant_on(counterpart)
    return engine


def new_key_for_repeats(engine: Engine) -> Engine:
    """A reversal that is sent again gets a new key, and its answer is known all the same."""

    def plant_on(counterpart: Counterpart) -> None:
        sent: set[tuple[str, str]] = set()
        renamed: dict[tuple[str, str], tuple[str, str]] = {}

        def change(mti: str, fields: dict[int, Any]) -> tuple[str, dict[int, Any]]:
            key = (fields[7], fields[11])
            if mti == "0420" and key in sent:
                fields[11] = str(900_001 + len(renamed))
                renamed[fields[7], fields[11]] = key
            sent.add(key)
            return mti, fields

        def restore(fields: dict[int, Any]) -> None:
            fields[7], fields[11] = renamed.get((fields[7], fields[11]), (fields[7], fields[11]))

        on_line(counterpart, change, restore)

    for counterpart in engine.office.counterparts.values():
        plant_on(counterpart)
    return engine


class _Hsm(Wrapped):
    """Passes PIN blocks through wherever the other side has blocks of the same size."""

    def translate_pin(self, source: str, fmt: str, target: str, target_fmt: str, pan: str, block: bytes) -> bytes:
        right: bytes = self.inner.translate_pin(source, fmt, target, target_fmt, pan, block)
        return block if len(block) == len(right) else right


def pin_not_translated(engine: Engine) -> Engine:
    engine.office.hsm = _Hsm(engine.office.hsm)  # type: ignore[assignment]
    return engine


def wrong_line_key(engine: Engine) -> Engine:
    """Requests under a MAC key that nobody else has; key resets are still answered as they should be."""
    hsm = engine.office.hsm
    for counterpart in engine.office.counterparts.values():
        keys, label = counterpart.profile.keys, f"zak/wrong/{counterpart.name}"
        hsm.generate(label, "zak", keys.suite, 16)

        def mac(
            mti: str,
            fields: Any,
            key_reset: bool = False,
            was: Any = counterpart.mac,
            label: str = label,
            algorithm: str = keys.mac,
        ) -> str:
            if key_reset:
                return str(was(mti, fields, key_reset))
            return hsm.mac(label, algorithm, network_mab(mti, fields)).decode()

        counterpart.mac = mac  # type: ignore[method-assign]
    return engine


class _Machine(Wrapped):
    """The engine with its hand on what it sends to terminals. Links are known by the terminal that last asked there."""

    def __init__(self, inner: Engine, spoil: Callable[["_Machine", Send], Send | None]) -> None:
        super().__init__(inner)
        self._spoil = spoil
        self.links: dict[str, Link] = {}
        self.owners: dict[Link, str] = {}
        self.last: dict[str, bytes] = {}
        self.count = 0

    def receive(self, link: Link, frame: Any, now: Now, out: Out) -> None:
        if not link.name:
            tid = self.inner.office.codec.peek(frame.body, (41,)).get(41, "")
            self.links[tid], self.owners[link] = link, tid
        self._watched(out, lambda: self.inner.receive(link, frame, now, out))

    def tick(self, now: Now, out: Out) -> None:
        self._watched(out, lambda: self.inner.tick(now, out))

    def _watched(self, out: Out, act: Callable[[], None]) -> None:
        at = len(out)
        act()
        kept = []
        for effect in out[at:]:
            if isinstance(effect, Send) and not effect.link.name and self._financial(effect):
                self.count += 1
                spoilt = self._spoil(self, effect) if self.count % EVERY == 0 else effect
                if spoilt is effect:
                    self.last[self.owners.get(effect.link, "")] = effect.body
                if spoilt is not None:
                    kept.append(spoilt)
            else:
                kept.append(effect)
        out[at:] = kept

    def _financial(self, send: Send) -> bool:
        return bool(self.inner.office.codec.peek(send.body, ())[0] in ("0110", "0210", "0230"))


def to_another_terminal(machine: _Machine, send: Send) -> Send | None:
    """The answer goes to the terminal that asked before this one."""
    owner = machine.owners.get(send.link)
    others = [link for tid, link in machine.links.items() if tid != owner and not link.closed]
    return send._replace(link=others[-1]) if others else send


def with_anothers(machine: _Machine, send: Send) -> Send | None:
    """The answer is the last one that another terminal got."""
    owner = machine.owners.get(send.link)
    others = [body for tid, body in machine.last.items() if tid != owner]
    return send._replace(body=others[-1]) if others else send


def to_nobody(machine: _Machine, send: Send) -> Send | None:
    return None


def wrong_terminal_key(engine: Engine) -> Engine:
    class Hsm(Wrapped):
        def mac(self, label: str, algorithm: str, data: bytes) -> bytes:
            wrong = b"?" if label.startswith("mak/") else b""
            made: bytes = self.inner.mac(label, algorithm, data + wrong)
            return made

    engine.office.hsm = Hsm(engine.office.hsm)  # type: ignore[assignment]
    return engine


DEFECTS: dict[str, Callable[[Engine], Any]] = {
    "drops-55": dropping(55),
    "drops-23": dropping(23),
    "drops-26": dropping(26),
    "drops-103": dropping(103),
    "machines-as-pos": changing(takes_machines_for_pos),
    "confirms-nothing": changing(forgets_what_is_confirmed),
    "spoils-new-pins": changing(spoils_new_pins),
    "drops-38": dropping(38),
    "pin-not-translated": pin_not_translated,
    "wrong-terminal": lambda engine: _Machine(engine, to_another_terminal),
    "answers-anothers": lambda engine: _Machine(engine, with_anothers),
    "never-answers": lambda engine: _Machine(engine, to_nobody),
    "keeps-310000": changing(keeps_processing_code),
    "keeps-stan": keeps_trace_number,
    "keeps-d": changing(keeps_separator),
    "track-in-reversals": track_in_reversals,
    "rounds-amounts": rounds_amounts,
    "wrong-mcc": changing(wrong_merchant_type),
    "wrong-mac-key": wrong_line_key,
    "wrong-terminal-mac": wrong_terminal_key,
    "no-reversals": changing(keeps_reversals_back),
    "new-reversal-key": new_key_for_repeats,
    "approves-silence": setting(codes=NetworkCodes(no_reply="00")),
    "maps-51-to-05": setting(response_map={"51": "05", "A0": "96"}),
}
"""What can be wrong, by name."""


def plant(engine: Engine, *names: str) -> Any:
    """The engine with these defects; nothing passes by the desks they are in."""
    machine: Any = engine
    engine.straight.sent = lambda *given: None  # type: ignore[method-assign]
    for name in names:
        machine = DEFECTS[name](machine)
    return machine


def main() -> int:
    """Serve a configuration with defects."""
    from switch.app import serve
    from switch.app.compose import build_engine

    path, names = Path(sys.argv[1]), sys.argv[2:]

    def build(*arguments: Any) -> Any:
        engine, *rest = build_engine(*arguments)
        return (plant(engine, *names), *rest)

    serve.build_engine = build  # type: ignore[assignment]
    return serve.run_loop(serve.serve_switch(path.resolve()))


if __name__ == "__main__":
    sys.exit(main())
