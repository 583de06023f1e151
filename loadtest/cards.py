"""Card and kernel on one core, without a network: transactions a second of CPU time, and what a million cards take.

Every scene is a whole transaction: the card is put in the reader, selected, paid with, and (contacts, online) answered
with an ARPC that its issuer's key makes. Rounds of the scenes alternate, so that a busy moment of the machine meets all
alike; figures are medians. Cards alternate too. The reader's key ring keeps what certificates it has recovered: *seen*
are cards whose certificate is in it, *new* ones that have to be recovered each time.
"""

import gc
import hashlib
import json
import os
import platform
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import Any, Final

from switch.wire import tlv
from terminals.card.card import Icc
from terminals.card.signing import ca_keys
from terminals.card.state import CardState, Wallet
from terminals.drive import instant
from terminals.flow import Ask
from terminals.kernel import contact
from terminals.kernel.parameters import demo_parameters
from terminals.kernel.session import CONTACT, CONTACTLESS, Kernel, Request
from terminals.kernel.tap import tap
from terminals.look.chosen import fit_cards, forgetful

GOALS: Final = {"contact_online": 3000, "tap_online": 3000, "tap_fdda_rsa": 1500, "tap_fdda_sm2": 1000}
"""Transactions a second on one core that card and kernel have to reach; RSA by gmpy2, SM2 by tongsuopy."""

SCENES: Final = (*GOALS, "tap_fdda_rsa_new", "tap_fdda_sm2_new")
SLOW: Final = ("tap_fdda_sm2", "tap_fdda_sm2_new")
"""What is measured once more with gmssl alone."""

MILLION: Final = 1_000_000
CARDS: Final = 48
"""Cards that take turns in a scene."""

_SEED: Final = 20130501
_NO_ODA: Final = "E0F900"
_DATE, _TIME = "261122", "101500"
_PURSE: Final = 50_000
_CHANCE: Final = hashlib.shake_256(b"bench cards").digest(1 << 16)

Scene = Callable[[int], None]


class Chance:
    """Bytes that cost next to nothing and seldom come twice; the same in every run."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at = 0

    def __call__(self, size: int) -> bytes:
        self._at = (self._at + 37) % 65_000
        return _CHANCE[self._at : self._at + size]


def bench_cards(
    rounds: int = 15, loops: int = 200, states: int = MILLION, cards: int = CARDS, with_gmssl: bool = True
) -> dict[str, Any]:
    """Transactions a second by scene, the same of SM2 with gmssl alone (in a process of its own), MiB of `states`.

    `rounds` times are taken per figure, of `loops` transactions each (fewer for slow scenes).
    """
    rates = measure(SCENES, rounds, loops, cards)
    gmssl = _with_gmssl(rounds, max(2, loops // 20), cards) if with_gmssl else {}
    return {
        "python": platform.python_version(),
        "rsa": "gmpy2" if find_spec("gmpy2") else "pow",
        "sm2": sm2_provider(),
        "rounds": rounds,
        "loops": loops,
        "cards": cards,
        "per_second": rates,
        "gmssl_per_second": gmssl,
        "goals": dict(GOALS),
        "states": states,
        "states_mib": round(states_mib(states), 1),
    }


def sm2_provider() -> str:
    """Who computes SM2 here."""
    wanted = os.environ.get("SHOUDAN_SM2", "")
    return wanted or ("tongsuopy" if find_spec("tongsuopy") else "gmssl")


def measure(names: Iterable[str], rounds: int, loops: int, cards: int = CARDS) -> dict[str, int]:
    """Transactions a second of CPU time, medians of `rounds` that alternate between the scenes."""
    scenes = {name: _scene(name, cards) for name in names}
    for scene in scenes.values():
        scene(cards)  # certificates are signed and the code is warm
    taken: dict[str, list[float]] = {name: [] for name in scenes}
    gc.collect()
    for _ in range(rounds):
        for name, scene in scenes.items():
            count = max(2, loops // 5) if "sm2" in name else loops
            start = process_time()
            scene(count)
            taken[name].append((process_time() - start) / count)
    return {name: round(1 / median(times)) for name, times in taken.items()}


def _scene(name: str, cards: int) -> Scene:
    """A function that does `count` transactions of a scene. RuntimeError for one that came out otherwise."""
    contacts = name == "contact_online"
    profile = "sm" if "sm2" in name else "dual" if "rsa" in name else "debit"
    interface = CONTACT if contacts else CONTACTLESS
    chance = Chance()
    ring = forgetful() if name.endswith("_new") else None
    kernel = Kernel(demo_parameters(ca_keys()), chance, capabilities=_NO_ODA if contacts else "E0F9C8", ring=ring)
    iccs = [Icc(image, image.fresh_state(), chance, interface) for image in fit_cards(_SEED, profile, cards)]
    request = Request(1000, _DATE, _TIME)
    wanted = "approved" if "fdda" in name else "online"

    def run(count: int) -> None:
        for number in range(count):
            icc = iccs[number % cards]
            icc.state.balance, icc.state.ctta = _PURSE, 0
            icc.reset()
            if contacts:
                _insert(kernel, request, icc)
                continue
            presented = instant.run(tap(kernel, request), _no_host, _holder, icc.transmit)
            if presented.outcome != wanted:
                raise RuntimeError(f"{name}: {presented.outcome} {presented.reason}")

    return run


def _insert(kernel: Kernel, request: Request, icc: Icc) -> None:
    presented = instant.run(contact.start(kernel, request), _no_host, _holder, icc.transmit)
    if presented.outcome != "online" or presented.session is None:
        raise RuntimeError(f"contact: {presented.outcome} {presented.reason}")
    arpc = icc.session("ac").arpc(presented.values["9F26"], b"00") + b"00"
    answer = contact.Answer("00", tlv.write([("91", arpc)]))
    done = instant.run(contact.complete(presented.session, answer), _no_host, _holder, icc.transmit)
    if done.outcome != "approved":
        raise RuntimeError(f"contact: {done.outcome} {done.reason}")


def _no_host(body: bytes) -> bytes | None:
    return None


def _holder(ask: Ask) -> Any:
    return 0 if ask.what == "application" else "123456"


def _with_gmssl(rounds: int, loops: int, cards: int) -> dict[str, int]:
    """The SM2 scenes in a process that has gmssl alone; a process, because a provider is chosen once."""
    few = min(cards, 8)
    program = (
        f"import json, sys; from loadtest.cards import measure; "
        f"json.dump(measure({SLOW!r}, {min(rounds, 5)}, {loops}, {few}), sys.stdout)"
    )
    environment = {**os.environ, "SHOUDAN_SM2": "gmssl"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def states_mib(states: int) -> float:
    """MiB that a wallet takes whose `states` cards have all been used once."""
    gc.collect()
    tracemalloc.start()
    try:
        wallet = Wallet(states)
        for number in range(states):
            state = CardState(_PURSE)
            state.atc = 1
            wallet.put(number, state)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return taken / (1 << 20)
