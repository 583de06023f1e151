"""What a proxy does to frames, in the words it is told: KIND[:DIRECTION][,KEY=VALUE...].

    latency:down,ms=200,jitter=50      duplicate:down,every=7,times=3      flip:up,share=0.01,bits=1
    bandwidth:both,bps=1000            drop:up,every=100                   blackhole:down
    slice:both,bytes=7,ms=2            swap:down,every=5                   reset:up,every=500      refuse

`up` is towards the host, `down` back from it, `both` (the default) each of them.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

Direction: TypeAlias = Literal["up", "down"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("up", "down")


class Kind(NamedTuple):
    """A kind of fault: its own keys with their defaults, whether it strikes single frames, and what it does."""

    keys: dict[str, float]
    single: bool
    help: str


KINDS: Final[dict[str, Kind]] = {
    "latency": Kind({"ms": 100.0, "jitter": 0.0}, False, "every frame is late by ms, and by up to jitter ms more"),
    "bandwidth": Kind({"bps": 1000.0}, False, "no more than bps bytes a second"),
    "slice": Kind({"bytes": 7.0, "ms": 1.0}, False, "written in pieces of so many bytes, ms apart"),
    "blackhole": Kind({}, False, "what comes is swallowed and the connection stays open (half-open)"),
    "refuse": Kind({}, False, "new connections are closed at once"),
    "drop": Kind({}, True, "the frame is lost"),
    "duplicate": Kind({"times": 2.0}, True, "the frame comes so many times"),
    "swap": Kind({}, True, "the frame comes after the one behind it"),
    "flip": Kind({"bits": 1.0}, True, "so many bits of the frame, not of its length, are turned over"),
    "reset": Kind({}, True, "the connection is reset instead of passing the frame on"),
}
"""All that can be asked for. Faults that strike single frames take `every` or `share` too."""

SWAP_WAIT_S: Final = 0.5
"""How long a swapped frame waits for another to overtake it."""


class FaultError(ValueError):
    """A fault, command or schedule that makes no sense; the text says what and where."""


@dataclass(slots=True)
class Fault:
    """One fault in force. `every` n-th frame or a `share` of all; with neither, each. `fired` counts by direction."""

    kind: str
    directions: tuple[Direction, ...]
    values: dict[str, float]
    every: int = 0
    share: float = 0.0
    seen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DIRECTIONS, 0))
    fired: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DIRECTIONS, 0))

    def strikes(self, direction: Direction, draw: random.Random) -> bool:
        """Whether it strikes this frame; counted if so."""
        if direction not in self.directions:
            return False
        self.seen[direction] += 1
        if self.every:
            hit = self.seen[direction] % self.every == 0
        elif self.share:
            hit = draw.random() < self.share
        else:
            hit = True
        self.fired[direction] += hit
        return hit


def read_fault(text: str) -> Fault:
    """A fault as it is written. Raises FaultError."""
    head, *pairs = text.strip().split(",")
    name, _, towards = head.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise FaultError(f"no fault is called {name!r}; there are {', '.join(KINDS)}")
    if towards not in ("", "up", "down", "both"):
        raise FaultError(f"{name}: direction {towards!r} is none of up, down, both")
    directions: tuple[Direction, ...] = DIRECTIONS if towards in ("", "both") else (towards,)  # type: ignore[assignment]
    fault = Fault(name, directions, dict(kind.keys))
    for pair in pairs:
        key, _, value = pair.strip().partition("=")
        _take(fault, kind, key, value)
    if fault.every and fault.share:
        raise FaultError(f"{name}: every or share, not both")
    return fault


def _take(fault: Fault, kind: Kind, key: str, value: str) -> None:
    known = [*kind.keys, *(("every", "share") if kind.single else ())]
    if key not in known:
        raise FaultError(f"{fault.kind}: no key {key!r}; it takes {', '.join(known) or 'none'}")
    try:
        number = float(value)
    except ValueError:
        raise FaultError(f"{fault.kind}: {key}={value!r} is not a number") from None
    if key == "share":
        if not 0 < number <= 1:
            raise FaultError(f"{fault.kind}: share={value} is not in 0..1")
        fault.share = number
    elif key == "every":
        if number < 1 or number != int(number):
            raise FaultError(f"{fault.kind}: every={value} is not a whole number from 1")
        fault.every = int(number)
    elif not 0 <= number <= 1e9 or (number == 0 and key in ("bps", "bytes", "times", "bits")):
        raise FaultError(f"{fault.kind}: {key}={value} is out of range")
    else:
        fault.values[key] = number


def flipped(frame: bytes, prefix: int, bits: int, draw: random.Random) -> bytes:
    """The frame with some bits turned over behind its length prefix; a frame that is only a prefix stays."""
    changed = bytearray(frame)
    if len(changed) > prefix:
        for _ in range(bits):
            changed[draw.randrange(prefix, len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


class Active:
    """The faults in force, by the names they were given."""

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        self._gone: list[tuple[str, Fault]] = []

    def set(self, name: str, fault: Fault) -> None:
        """Put a fault into force, in place of the one of this name."""
        self.clear(name)
        self.faults[name] = fault

    def clear(self, name: str) -> bool:
        """End a fault; its counts are kept. False where none has this name."""
        fault = self.faults.pop(name, None)
        if fault is not None:
            self._gone.append((name, fault))
        return fault is not None

    def of(self, kind: str, direction: Direction) -> Iterable[Fault]:
        """Those of one kind for one direction."""
        return [one for one in self.faults.values() if one.kind == kind and direction in one.directions]

    def fired(self) -> dict[str, dict[str, int]]:
        """By kind and direction: how often it struck, those ended since among them."""
        sums: dict[str, dict[str, int]] = {}
        for _, fault in (*self._gone, *self.faults.items()):
            mine = sums.setdefault(fault.kind, dict.fromkeys(DIRECTIONS, 0))
            for direction in DIRECTIONS:
                mine[direction] += fault.fired[direction]
        return sums
