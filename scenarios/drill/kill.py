"""`drill kill`: switch, network centre, core or all terminals killed at random, or frozen for seconds, under load."""

import time
from typing import Final

from scenarios.drill.held import Drill, Result, Tell
from scenarios.drill.yard import FLEET, SWITCH, Yard

FROZEN: Final = 0.25
"""Share of the rounds in which a process is not killed but stands still; terminals are always killed."""
FROZEN_S: Final = (1.0, 4.0)


def hold(yard: Yard, rounds: int, rate: float, pause_s: float, seed: int, tell: Tell) -> Result:
    """Kill and restart one of them, or freeze it, `rounds` times, `pause_s` of trade on average between; then judge."""
    drill = Drill(yard, rate, seed, tell)
    victims = [FLEET, *(one.name for one in yard.counters), *([SWITCH] * 2 if yard.command else [])]
    with drill.everything():
        for number in range(1, rounds + 1):
            time.sleep(pause_s * (0.5 + drill.draw.random()))
            victim = drill.draw.choice(victims)
            frozen = drill.draw.random() < FROZEN and victim != FLEET
            begin = time.monotonic()
            if frozen:
                drill.crew.freeze(victim, drill.draw.uniform(*FROZEN_S))
            else:
                drill.crew.kill(victim)
            restart = time.monotonic()
            if victim == FLEET:
                drill.start_fleet()
            elif not frozen:
                drill.crew.begin(victim)
            lines = [drill.counter(victim).own] if victim not in (FLEET, SWITCH) else drill.lines()
            what = f"{victim} frozen" if frozen else victim
            window = drill.window(what, begin, restart, lines if len(drill.lines()) > 1 else [])
            took = "no answer" if window.recovery_s is None else f"answers after {window.recovery_s:.2f} s"
            tell(f"round {number} of {rounds}: {what if frozen else f'{victim} killed'}, {took}")
        time.sleep(pause_s)
        result = drill.finish("kill", rounds)
    result.availability_min, result.recovery_max_s = 0.999, 3.0
    return result
