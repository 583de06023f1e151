"""`drill disk`: the switch's disk is full, a sync fails, a sync is forgotten; it must stop at once and lose nothing.

Full is a limit on the size of its files (RLIMIT_FSIZE), set while it runs. The other two are a storage layer under our
own switch. A disk that says it has written and has not can only be found out: then refusing to start is right.
"""

import contextlib
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from scenarios.drill.held import Drill, Result, Tell
from scenarios.drill.yard import START_S, SWITCH, DrillFailed, Yard
from switch.app.serve import STORAGE_FAILED

FULL, FAIL, FORGET = "full", "fail", "forget"
MODES: Final = (FULL, FAIL, FORGET)
STOP_WITHIN_S: Final = 20.0
MARGIN: Final = 8192


def hold(yard: Yard, rounds: int, rate: float, pause_s: float, seed: int, tell: Tell, modes: tuple[str, ...]) -> Result:
    """Ruin the disk `rounds` times in turn of the modes, a forgotten sync last of all; then judge."""
    if not yard.command:
        raise DrillFailed("drill disk starts and restarts the switch: give it --command")
    usual = [mode for mode in modes if mode != FORGET and (yard.ours or mode == FULL)]
    plan = [usual[number % len(usual)] for number in range(rounds)] if usual else []
    if FORGET in modes and yard.ours:
        plan = [*plan[: rounds - 1], FORGET]
    if not plan:
        raise DrillFailed("a storage layer stands under our own switch only: drill disk --mode full")
    drill = Drill(yard, rate, seed, tell)
    codes: Counter[str] = Counter()
    refused = ""
    with drill.everything():
        for number, mode in enumerate(plan, 1):
            time.sleep(pause_s)
            code = _ruin(drill, mode)
            codes[f"{mode} {code}"] += 1
            begin = time.monotonic()
            refused = _restart(drill)
            if refused:
                tell(f"round {number} of {len(plan)}: {mode}, exit code {code}; refuses to start: {refused}")
                break
            window = drill.window(mode, drill.windows_open.pop(), begin, drill.lines())
            took = "no answer" if window.recovery_s is None else f"answers after {window.recovery_s:.2f} s"
            tell(f"round {number} of {len(plan)}: {mode}, exit code {code}, {took}")
        time.sleep(pause_s)
        result = drill.finish("disk", len(plan), judged=not refused)
    wrong = [name for name, _ in codes.items() if yard.ours and name != _expected(name.split()[0])]
    result.more = {"exit_codes": dict(codes), "unexpected_exit_codes": wrong, "refused_to_start": refused}
    result.failed = bool(wrong)
    return result


def _expected(mode: str) -> str:
    """How our own switch ends: a storage error is told by its exit code, a power cut by nobody."""
    return f"{mode} {-9 if mode == FORGET else STORAGE_FAILED}"


def _ruin(drill: Drill, mode: str) -> int:
    """Break the disk under the switch and wait until it stops; its exit code."""
    crew, yard = drill.crew, drill.yard
    drill.windows_open.append(time.monotonic())
    if mode == FULL:
        crew.limit_file_size(SWITCH, _largest(yard.directory) + MARGIN if yard.ours else 1)
    else:
        # The layer has to be there from the start: a restart first, and then so many commits until it strikes.
        crew.end(SWITCH)
        crew.wait(SWITCH, STOP_WITHIN_S)
        nth = str(20 + drill.draw.randrange(60))
        config = str(yard.directory / "switch.toml")
        crew.start_switch([sys.executable, "-m", "scenarios.drill.bad_disk", mode, nth, config])
    code = crew.wait(SWITCH, STOP_WITHIN_S if mode == FULL else START_S)
    if code is None:
        raise DrillFailed(f"{mode}: the switch still runs on a disk that is no more")
    return code


def _largest(directory: Path) -> int:
    """The largest of the journal's files: beyond it nothing can be appended soon."""
    return max(one.stat().st_size for one in directory.glob("switch.db*"))


def _restart(drill: Drill) -> str:
    """Start the switch on a good disk; why it refuses to, "" where it does not."""
    drill.crew.start_switch()
    try:
        drill.crew.await_port(SWITCH, drill.yard.host, drill.yard.port)
    except DrillFailed:
        with contextlib.suppress(ProcessLookupError):
            if drill.crew.code(SWITCH) is None:
                raise
        return drill.crew.last_line(SWITCH)
    return ""
