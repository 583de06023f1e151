"""`shoudan serve` with one feature taken out, to see what it costs. For measuring only: it must never meet a terminal.

    python -m loadtest.bench.without FEATURE CONFIG

It is a process of its own, and the only file of this room that knows the switch from inside.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from switch.app.serve import run_loop, serve_switch
from switch.crypto.hsm import Hsm
from switch.engine import straight
from switch.engine.books import Books
from switch.engine.statistics import Statistics
from switch.net import disk
from switch.timings import Timings


def _mac(line: bool) -> None:
    """Neither made nor verified, on terminals' links or on the line to the network."""
    mac, verify, ready = Hsm.mac, Hsm.verify_mac, Hsm.mac_function

    def made(self: Hsm, label: str, *rest: Any) -> bytes:
        return b"00000000" if label.startswith("zak/") == line else mac(self, label, *rest)

    def verified(self: Hsm, label: str, *rest: Any) -> bool:
        return label.startswith("zak/") == line or verify(self, label, *rest)

    def function(self: Hsm, label: str, *rest: Any) -> Callable[[bytes], bytes]:
        return (lambda data: b"00000000") if label.startswith("zak/") == line else ready(self, label, *rest)

    Hsm.mac, Hsm.verify_mac, Hsm.mac_function = made, verified, function  # type: ignore[method-assign,assignment]
    straight.compare_digest = lambda ours, theirs: True  # type: ignore[attr-defined]


def _pin() -> None:
    Hsm.pin_translator = lambda *rest: lambda pan, block: block  # type: ignore[method-assign]


def _card() -> None:
    Hsm.number_sealer = lambda *rest: lambda number, reference: bytes(16)  # type: ignore[method-assign]
    Hsm.hash_function = lambda *rest: lambda data: bytes(16)  # type: ignore[method-assign]


def _sync() -> None:
    disk.PRAGMAS = tuple(line.replace("=FULL", "=OFF") for line in disk.PRAGMAS)


def _rows() -> None:
    def commit(self: disk.Disk) -> int:
        if self._taken:
            self.durable = self._taken[-1][0]
            self._taken.clear()
        return self.durable

    disk.Disk.commit = commit  # type: ignore[method-assign]


def _metrics() -> None:
    Timings.add = lambda *rest: None  # type: ignore[method-assign]
    Statistics.answered = lambda *rest: None  # type: ignore[method-assign]


def _duplicates() -> None:
    """No exchange is remembered, so none is found again."""
    Books.add = lambda *rest: None  # type: ignore[method-assign]


FEATURES: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "pos_mac": lambda: _mac(False),
    "network_mac": lambda: _mac(True),
    "pin": _pin,
    "card": _card,
    "duplicates": _duplicates,
    "sync": _sync,
    "rows": _rows,
    "metrics": _metrics,
}
"""What can be taken out: POS MACs, network MACs, PIN translation, sealing and hashing the card number, remembering
exchanges, waiting for the disk, the rows themselves, counting."""

if __name__ == "__main__":
    FEATURES[sys.argv[1]]()
    sys.exit(run_loop(serve_switch(Path(sys.argv[2]).resolve())))
