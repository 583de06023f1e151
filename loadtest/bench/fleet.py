"""A province signs in: memory on both sides, the storm, the switch started again with everybody's keys, and an HSM."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from switch.wire.profile import PosProfile, load_profile
from terminals.beside import beside
from terminals.census import load_census
from terminals.device import pos
from terminals.drive.blocking import Session
from terminals.muster import StormOrder, storm
from terminals.province import Province
from terminals.rows import Rows

SEED: Final = 7
BRISK: Final = 10_000
"""Terminals of the short storms: the second one has an HSM of HSM_OPS."""
HSM_OPS: Final = 2_000
SAMPLE: Final = 200
_WITHOUT_KEYS: Final = ("77", "99", "A0")
RSS_GOAL_MIB, STORM_GOAL_S, BRISK_GOAL_S = 256.0, 120.0, 3.0


class _Card(NamedTuple):
    """A card nobody has."""

    pan: str = "6212140000000000030"
    expiry: str = "3612"
    track2: str = "6212140000000000030=361212000000000"


def bench_fleet(
    directory: Path, profile: str, terminals: int, hsm_ops: int, told: Callable[[str], None]
) -> dict[str, Any]:
    """The figures of a fleet's profile, scaled to `terminals` (0: whole). Raises Impossible, HostFailed, WireError."""
    census = load_census(profile)
    census = census.scaled(terminals) if terminals else census
    spoken = load_profile(census.speaks)
    assert isinstance(spoken, PosProfile)
    order = StormOrder(census=census, profile=spoken, speaks=census.speaks, seed=SEED, directory=directory / "whole")
    province = order.province()
    figures = _storm(order, province, told)
    told(f"signed in: {figures['signed_in']:,} in {figures['sign_in_s']} s; the switch starts again")
    figures["again"] = _again(order, province)
    brisk = min(BRISK, census.terminals)
    for name, rate in (("brisk", 0), ("hsm_storm", hsm_ops)):
        few = StormOrder(
            census=census.scaled(brisk), profile=spoken, speaks=census.speaks, seed=SEED, directory=directory / name,
            hsm_ops=rate,
        )  # fmt: skip
        short = _storm(few, few.province(), told)
        wanted = ("signed_in", "sign_in_s", "sign_ins_per_s", "latency_ms", "cpu_us_a_sign_in", "hsm", "limit")
        figures[name] = {key: short[key] for key in wanted}
    return figures


def _storm(order: StormOrder, province: Province, told: Callable[[str], None]) -> dict[str, Any]:
    """A storm; one that is broken off breaks the bench off."""
    figures = storm(order, province, _progress(told))
    if figures["interrupted"]:
        raise KeyboardInterrupt
    return figures


def _again(order: StormOrder, province: Province) -> dict[str, Any]:
    """The switch of the storm once more: who is still signed in, and whether the keys of some hold without a new
    sign-in, each asked for a balance under the keys it has had since the storm."""
    with beside(order.directory) as running:
        began = running.ask()
        held = sum(_holds(province, number, rows, running.port) for rows, number in _some(province))
        after = running.ask()
        return {
            "start_s": round(running.start_s, 1),
            "switch_rss_mib": running.rss_mib,
            "signed_in": began["signed_in"],
            "asked": len(list(_some(province))),
            "keys_held": held,
            "signed_in_anew": after["sign_ins"] - began["sign_ins"],
        }


def _some(province: Province) -> Iterable[tuple[Rows, int]]:
    """Some terminals, from everywhere."""
    for rows in (province.shops, province.machines):
        step = max(1, len(rows) // (SAMPLE // 2))
        yield from ((rows, number) for number in range(0, len(rows), step))


def _holds(province: Province, number: int, rows: Rows, port: int) -> bool:
    """Whether the switch believes this terminal's MAC. It refuses the rest: it has no line to anybody."""
    memory = rows.take(number)
    session = Session(province.line, "127.0.0.1", port, kept=False)
    try:
        outcome = session.run(pos.transact(memory, province.line, "balance", _Card()), lambda asked: "")
    finally:
        rows.put(number)
    return bool(outcome.response_code) and outcome.response_code not in _WITHOUT_KEYS


def _progress(told: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    at = 0.0

    def tell(status: dict[str, Any]) -> None:
        nonlocal at
        if "elapsed_s" not in status:
            told(status["phase"])
        elif status["elapsed_s"] >= at:
            at = status["elapsed_s"] + 10.0
            told(f"{status['elapsed_s']:6.1f} s  {status['signed_in']:,} of {status['terminals']:,}")

    return tell


def missed(figures: dict[str, Any]) -> list[str]:
    """The goals that were not reached, in words; those of a province only where it was whole."""
    goals = [("rss_mib", figures["rss_mib"], RSS_GOAL_MIB), ("sign_in_s", figures["sign_in_s"], STORM_GOAL_S)]
    if figures["brisk"]["signed_in"] >= BRISK * 0.9:
        goals.append(("brisk.sign_in_s", figures["brisk"]["sign_in_s"], BRISK_GOAL_S))
    return [f"{name} {value:g} (goal {goal:g})" for name, value, goal in goals if value > goal]
