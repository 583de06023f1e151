"""Sales prepared before the run: only STAN, amount and MAC are fresh in each.

A till is one connection's queue of signed-in terminals; a terminal sells until its batch is nearly full, then the next
one does.
"""

import ssl
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from loadtest.bench.ground import Ground
from loadtest.bench.process import BenchFailed
from switch.wire.transactions import BATCH_ITEMS_MAX, BY_NAME
from terminals.device.dialogue import Line, plain, request_fields
from terminals.device.manage import sign_in
from terminals.device.memory import Item, Memory
from terminals.drive.blocking import Session
from terminals.fleet import Terminal, memory_of

SALES_MAX = BATCH_ITEMS_MAX - 9
"""Sales a terminal makes here: a full batch would be refused."""


def signed_in(ground: Ground, terminals: Iterable[Terminal], tls: ssl.SSLContext | None = None) -> list[Memory]:
    """Terminals of the fleet with working keys, got over one connection. BenchFailed where one gets none."""
    session = Session(Line(ground.pos), "127.0.0.1", ground.switch_port, tls=tls)
    fleet = []
    for terminal in terminals:
        memory = memory_of(terminal)
        outcome = session.run(sign_in(memory, session.line), lambda asked: None)
        if not outcome.approved:
            raise BenchFailed(f"a terminal could not sign in: {outcome.response_code or outcome.reason}")
        fleet.append(memory)
    session.close()
    return fleet


def sales(memory: Memory, line: Line, number: int, pin: bool = True) -> Iterator[bytes]:
    """Frames of a terminal's sales, each made when it is asked for.

    The CUP MAC is made of the exclusive-or of all blocks, so that of the unchanging bytes is taken once; what a sale
    changes is crossed in, and the PIN pad gets one block instead of a message (2 us a sale against 6).
    """
    pan = f"62121400000{number % 100_000:05d}"
    track = f"{pan}D2912201000000123"

    def frame(stan: str, amount_minor: int) -> bytes:
        item = Item("sale", memory.batch, stan, amount_minor, "021" if pin else "022", pan, "2912")
        fields = request_fields(memory, line, item, track, "123456" if pin else "")
        fields[64] = bytes(8)
        return line.wrap(plain(line, BY_NAME["sale"].mti, fields))

    blank = frame("000000", 0)
    stan_at = _differs(blank, frame("999999", 0))
    amount_at = _differs(blank, frame("000000", 999_999_999_999)) + 3
    body_at = len(line.wrap(b""))
    size = 16 if memory.suite == "sm4" else 8
    static = _folded(int.from_bytes(blank[body_at:-8], "big") << (-(len(blank) - 8 - body_at) % size * 8), size)
    stan_shift, amount_shift = (-(at - body_at + 3) % size * 8 for at in (stan_at, amount_at))
    straight = max(stan_shift, amount_shift) <= (size - 3) * 8
    mac = memory.pinpad.mac
    first, second, third = blank[:amount_at], blank[amount_at + 3 : stan_at], blank[stan_at + 3 : -8]
    for n in range(memory.stan + 1, memory.stan + 1 + SALES_MAX):
        digits = bytes.fromhex(f"{n:06d}")  # amount and STAN of a sale are the same number: fresh, and one conversion
        value = int.from_bytes(digits, "big")
        changes = (value << stan_shift) ^ (value << amount_shift)
        folded = static ^ (changes if straight else _folded(changes, size))
        yield first + digits + second + digits + third + mac(folded.to_bytes(size, "big"))


def _folded(value: int, size: int) -> int:
    folded, mask = 0, (1 << size * 8) - 1
    while value:
        folded ^= value & mask
        value >>= size * 8
    return folded


def _differs(one: bytes, other: bytes) -> int:
    """Where two frames of the same length begin to differ."""
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=True)) if left != right)


def tills(fleet: list[Memory], line: Line, connections: int, pin: bool = True) -> list[Callable[[], bytes]]:
    """One source of frames a connection; BenchFailed from a source whose terminals have sold all they may."""
    numbers = count()
    return [_till([(memory, next(numbers)) for memory in fleet[n::connections]], line, pin) for n in range(connections)]


def _till(queue: list[tuple[Memory, int]], line: Line, pin: bool) -> Callable[[], bytes]:
    def frames() -> Iterator[bytes]:
        for memory, number in queue:
            yield from sales(memory, line, number, pin)
        raise BenchFailed("every terminal's batch is full: give the run more terminals")

    return frames().__next__
