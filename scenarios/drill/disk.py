"""`drill disk`: the switch's disk is full, a sync fails, a sync is forgotten; it must stop at once and lose nothing.

Full is a limit on the size of its files (RLIMIT_FSIZE), set while it runs. The other two are a storage layer under our
own switch. A disk that says it has written and has not can only be found out: then refusing to start is right.
"""

import contextlib
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from scenarios.drill.held import Drill, Result, Tell
from scenarios.drill.yard import START_S, SWITCH, DrillFailed, Yard
from switch.app.clearing import read_rows
from switch.app.serve import STORAGE_FAILED
from switch.clearing.schema import SWITCH_TABLES
from switch.net.witness import read_witness, witness_path

FULL, FAIL, FORGET = "full", "fail", "forget"
MODES: Final = (FULL, FAIL, FORGET)
STOP_WITHIN_S: Final = 20.0
MARGIN: Final = 8192


def hold(yard: Yard, rounds: int, rate: float, pause_s: float, seed: int, tell: Tell, modes: tuple[str, ...]) -> Result:
    """Ruin the disk `rounds` times in turn of the modes and judge; then, last of all, let a sync be forgotten."""
    if not yard.command:
        raise DrillFailed("drill disk starts and restarts the switch: give it --command")
    usual = [mode for mode in modes if mode != FORGET and (yard.ours or mode == FULL)]
    forget = FORGET in modes and yard.ours
    if not usual and not forget:
        raise DrillFailed("a storage layer stands under our own switch only: drill disk --mode full")
    plan = [usual[number % len(usual)] for number in range(max(rounds - forget, 1))] if usual else []
    codes: Counter[str] = Counter()
    drill = Drill(yard, rate, seed, tell)
    result: Result | None = None
    if plan:
        with drill.everything():
            for number, mode in enumerate(plan, 1):
                time.sleep(pause_s)
                _round(drill, mode, f"round {number} of {len(plan) + forget}", codes)
            time.sleep(pause_s)
            result = drill.finish("disk", len(plan) + forget)
    more: dict[str, Any] = {}
    if forget:
        result, more = _forget(drill, result, len(plan) + 1, pause_s, codes)
    assert result is not None
    wrong = [name for name, _ in codes.items() if yard.ours and name != _expected(name.split()[0])]
    result.more = {"exit_codes": dict(codes), "unexpected_exit_codes": wrong, **more}
    result.failed = bool(wrong or more.get("unexplained"))
    return result


def _round(drill: Drill, mode: str, which: str, codes: Counter[str]) -> tuple[str, int]:
    """Break the disk, start the switch again: why it refuses to start, "" where it does not, and how many rows a sync
    forgotten has cost."""
    code = _ruin(drill, mode)
    codes[f"{mode} {code}"] += 1
    missing = _missing(drill.yard.directory / "switch.db") if mode == FORGET else 0
    begin = time.monotonic()
    refused = _restart(drill)
    if refused:
        if mode != FORGET:
            raise DrillFailed(f"{mode}: the switch does not start again: {refused}")
        drill.tell(f"{which}: {mode}, exit code {code}; refuses to start: {refused}")
        return refused, missing
    window = drill.window(mode, drill.windows_open.pop(), begin, drill.lines())
    took = "no answer" if window.recovery_s is None else f"answers after {window.recovery_s:.2f} s"
    drill.tell(f"{which}: {mode}, exit code {code}, {took}")
    return "", missing


def _forget(
    before: Drill, judged: Result | None, number: int, pause_s: float, codes: Counter[str]
) -> tuple[Result, dict[str, Any]]:
    """A sync forgotten, and the power cut. Either nothing is missing, and the books must agree as ever; or rows are
    gone that others were told of, and then the switch must refuse to start and say so: what was judged before stands.
    """
    drill = before.again()
    with drill.everything():
        time.sleep(pause_s)
        refused, missing = _round(drill, FORGET, f"round {number} of {number}", codes)
        if not refused:
            time.sleep(pause_s)
            return drill.finish("disk", number), {"rows_forgotten": missing, "unexplained": missing > 0}
        stopped = drill.finish("disk", number, judged=False)
    cut_at = drill.windows_open.pop()  # after it nobody could be answered any more
    result = replace(judged or stopped, files=stopped.files, answers=[a for a in stopped.answers if a.end < cut_at])
    return result, {
        "refused_to_start": refused, "rows_forgotten": missing, "unexplained": missing <= 0 or "witness" not in refused,
    }  # fmt: skip


def _missing(journal: Path) -> int:
    """How many rows the journal's witness has seen that are not there."""
    witness = read_witness(witness_path(journal))
    last = max(int(row["number"]) for table in SWITCH_TABLES for row in read_rows(journal, table))
    return (witness.number if witness else 0) - last


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
