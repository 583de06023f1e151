"""`drill kill`: kill -9 of switch, network centre, core or all terminals, at random, under load; or SIGSTOP and SIGCONT
in its place, as a machine that is moved or swaps.
"""

import time

from scenarios.drill.held import Drill, Result, Tell
from scenarios.drill.yard import FLEET, SWITCH, Yard


def hold(yard: Yard, rounds: int, rate: float, pause_s: float, seed: int, tell: Tell, stop_s: float = 0.0) -> Result:
    """Kill and restart one of them `rounds` times, `pause_s` of trade on average between; then judge.

    With `stop_s` they are stopped for so many seconds, and go on.
    """
    drill = Drill(yard, rate, seed, tell)
    victims = [FLEET, *(one.name for one in yard.counters), *([SWITCH] * 2 if yard.command else [])]
    with drill.everything():
        for number in range(1, rounds + 1):
            time.sleep(pause_s * (0.5 + drill.draw.random()))
            victim = drill.draw.choice(victims)
            begin = time.monotonic()
            if stop_s:
                drill.crew.freeze(victim, stop_s)
            else:
                drill.crew.kill(victim)
            restart = time.monotonic()
            if not stop_s and victim == FLEET:
                drill.start_fleet()
            elif not stop_s:
                drill.crew.begin(victim)
            lines = [drill.counter(victim).own] if victim not in (FLEET, SWITCH) else drill.lines()
            window = drill.window(victim, begin, restart, lines if len(drill.lines()) > 1 else [])
            took = "no answer" if window.recovery_s is None else f"answers after {window.recovery_s:.2f} s"
            tell(f"round {number} of {rounds}: {victim} {'stopped' if stop_s else 'killed'}, {took}")
        time.sleep(pause_s)
        result = drill.finish("kill", rounds)
    result.availability_min, result.recovery_max_s = 0.999, 3.0
    return result
