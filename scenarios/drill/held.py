"""What all drills share: start everything, let terminals trade, watch the answers, stop everything, judge."""

import contextlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from scenarios.drill import canary
from scenarios.drill.answers import Answer, Answers, Window, availability, recovery
from scenarios.drill.judge import Verdict, judge
from scenarios.drill.load import LoadPlan
from scenarios.drill.yard import FLEET, START_S, SWITCH, Counter, Crew, DrillFailed, Yard
from switch.app.control import ask_control

RECOVER_S: Final = 30.0
DRAIN_S: Final = 60.0
REST_S: Final = 120.0
POLL_S: Final = 0.02

Tell = Callable[[str], None]


@dataclass(slots=True)
class Result:
    """What came out of a drill. `verdict` is None where the switch rightly refused to go on; `more` is what only this
    kind of drill has, `failed` that something of it is wrong."""

    kind: str
    seconds: float
    rounds: int
    verdict: Verdict | None
    windows: list[Window]
    answers: list[Answer]
    files: dict[str, Any]
    at_rest: bool
    more: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    availability_min: float = 0.0
    recovery_max_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        by_what: dict[str, list[Window]] = {}
        for window in self.windows:
            by_what.setdefault(window.what, []).append(window)
        return {
            "drill": self.kind,
            "passed": self.passed,
            "rounds": self.rounds,
            "lost": self.verdict.lost if self.verdict else None,
            "doubled": self.verdict.doubled if self.verdict else None,
            **availability(self.answers, self.windows),
            **recovery(self.windows),
            "seconds": round(self.seconds, 1),
            "at_rest": self.at_rest,
            "by_fault": {what: {"rounds": len(mine), **recovery(mine)} for what, mine in sorted(by_what.items())},
            "books": self.verdict.as_dict() if self.verdict else None,
            "canary": self.files,
            **self.more,
        }

    @property
    def passed(self) -> bool:
        """Nothing lost, nothing doubled, everything came back, nothing leaked, and the limits were kept."""
        measured = recovery(self.windows)
        share = availability(self.answers, self.windows)["availability_outside_windows"]
        return (
            (self.verdict is None or self.verdict.clean)
            and self.at_rest
            and not self.failed
            and not self.files["sightings"]
            and not measured["unrecovered"]
            and (not self.availability_min or share >= self.availability_min)
            and (not self.recovery_max_s or measured["recovery_s"]["p99"] <= self.recovery_max_s)
        )


class Drill:
    """One drill under way."""

    def __init__(self, yard: Yard, rate: float, seed: int, tell: Tell) -> None:
        self.yard = yard
        self.crew = Crew(yard)
        self.draw = random.Random(seed)
        self.answers = Answers(yard.directory / "answers.log")
        self.windows: list[Window] = []
        self.windows_open: list[float] = []
        self.tell = tell
        self._rate = rate
        self._counted: dict[str, int] = {}
        self.started = time.monotonic()

    def again(self) -> "Drill":
        """Another one on the same ground, after this one was judged."""
        drill = Drill(self.yard, self._rate, self.draw.randrange(1 << 32), self.tell)
        drill.answers, drill.windows, drill.started = self.answers, self.windows, self.started
        return drill

    # the processes

    @contextlib.contextmanager
    def everything(self) -> Iterator[None]:
        """All processes, from before the block to after it. Raises DrillFailed."""
        try:
            for one in self.yard.counters:
                self.crew.start_counter(one)
            for one in self.yard.counters:
                self.crew.await_port(one.name, "127.0.0.1", one.port)
            self.crew.start_switch()
            self.crew.await_port(SWITCH, self.yard.host, self.yard.port)
            self._await_lines()
            self.start_fleet()
            self.await_good(time.monotonic(), self.lines(), START_S)
            yield
        finally:
            self.crew.stop()

    def lines(self) -> list[bool]:
        """The lines to be heard from, by whether they are the own bank's."""
        return [one.own for one in self.yard.counters] if len(self.yard.counters) > 1 else []

    def _await_lines(self) -> None:
        end = time.monotonic() + START_S
        while self.yard.ours and time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                lines = ask_control(self.yard.control(SWITCH), "status")["counterparts"]
                if all(line["ready"] for line in lines.values()):
                    return
            time.sleep(POLL_S)
        if self.yard.ours:
            raise DrillFailed("the switch did not get its keys from network and core; see switch.log")

    def start_fleet(self) -> None:
        """The terminals, with whatever they kept."""
        yard = self.yard
        plan = LoadPlan(
            directory=str(yard.directory), host=yard.host, port=yard.port, seed=yard.seed,
            cards_per_issuer=yard.cards_per_issuer, profile=str(yard.profile), terminals=str(yard.terminals),
            transport_keys=str(yard.transport_keys), rate=self._rate, rest_s=REST_S,
        )  # fmt: skip
        path = yard.directory / "load.json"
        path.write_bytes(msgspec.json.encode(plan))
        self.crew.start(FLEET, [sys.executable, "-m", "scenarios.drill.load", str(path)])

    # watching

    def await_good(self, since: float, lines: list[bool], most_s: float = RECOVER_S) -> tuple[float | None, float]:
        """When the first good answer to a dialogue begun after `since` came, and when one had come on each of `lines`.

        The first is None, the second infinite, where that took longer than `most_s`.
        """
        end = time.monotonic() + most_s
        first: float | None = None
        wanted = set(lines)
        while time.monotonic() < end:
            for answer in self.answers.more():
                if answer.start < since or not answer.good or (len(lines) == 1 and not answer.came_from(lines[0])):
                    continue
                first = answer.end if first is None else first
                wanted -= {line for line in wanted if answer.came_from(line)}
                if not wanted:
                    return first, answer.end
            time.sleep(POLL_S)
        return first, float("inf")

    def window(self, what: str, begin: float, restart: float, lines: list[bool]) -> Window:
        """Wait until answers come again, and remember how long it took."""
        first, recovered = self.await_good(restart, lines)
        found = Window(what, begin, restart, None if recovered == float("inf") else recovered, first)
        self.windows.append(found)
        took = "never" if found.recovery_s is None else f"{found.recovery_s:.2f} s"
        self.crew.note(f"recovered {what} {took}")
        return found

    # the end

    def finish(self, kind: str, rounds: int, *, judged: bool = True) -> Result:
        """Let the terminals come to rest, stop everything, and judge what is left.

        Not `judged` where the switch refused to go on: then nothing can come to rest, and nothing is said of its books.
        """
        if not judged:
            self.answers.more()
            self.crew.kill(FLEET)
            self.crew.stop()
            traded = time.monotonic() - self.started
            return Result(kind, traded, rounds, None, self.windows, self.answers.seen, self._files(), True)
        self.tell("coming to rest")
        traded = time.monotonic() - self.started
        self.crew.end(FLEET)
        code = self.crew.wait(FLEET, REST_S + 30.0)
        if not self.yard.terminal_book.exists():
            raise DrillFailed(f"the terminals left no book (code {code}): {self.crew.last_line(FLEET)}")
        at_rest = code == 0 and self._drained()
        ended = [name for name in self.crew.ended if name != FLEET]
        self.answers.more()
        self.crew.stop()
        self.tell("joining the books")
        verdict = judge(self.yard.journal, self.yard.ledgers, self.yard.terminal_book)
        for name, count in self._counted.items():
            verdict.found("", "the switch itself counted what can never happen", {"what": name, "count": count})
        for name in ended:
            verdict.found("", "a process ended by itself", {"process": name, "said": self.crew.last_line(name)})
        return Result(kind, traded, rounds, verdict, self.windows, self.answers.seen, self._files(), at_rest)

    def _files(self) -> dict[str, Any]:
        self.tell("looking for card numbers")
        return canary.report(self.yard.directory)

    def _drained(self) -> bool:
        """Whether our own switch owes nobody anything; of another one only time can tell."""
        if not self.yard.ours:
            time.sleep(2.0)
            return True
        end = time.monotonic() + DRAIN_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                status = ask_control(self.yard.control(SWITCH), "status")
                self._counted = {name: count for name, count in status["violations"].items() if count}
                if not status["stored"] and not status["inflight"]:
                    return True
            time.sleep(0.1)
        return False

    def counter(self, name: str) -> Counter:
        """A counterpart by name."""
        return next(one for one in self.yard.counters if one.name == name)
