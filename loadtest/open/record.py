"""What a run has seen, second by second, written as it goes: a run that is broken off leaves all it had.

`seconds.csv` has a row a second, `samples.jtl` a line a transaction in the columns of JMeter's dashboards.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

from loadtest.open.latency import Latencies

SECONDS: Final = "seconds.csv"
SAMPLES: Final = "samples.jtl"
COLUMNS: Final = (
    "second", "offered", "skipped", "sent", "answered", "approved", "declined", "failed", "in_flight",
    "intended_p50_ms", "intended_p99_ms", "sent_p50_ms", "sent_p99_ms", "late_p99_ms", "cpu",
)  # fmt: skip
JTL: Final = (
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,"
    "grpThreads,allThreads,URL,Latency,IdleTime,Connect"
)


class Second:
    """Counts and latencies of one second. Those from the intended instant are kept by kind of transaction."""

    __slots__ = ("approved", "by_kind", "declined", "failed", "late", "offered", "sent", "sent_at", "skipped")

    def __init__(self) -> None:
        self.offered = self.skipped = self.sent = self.approved = self.declined = self.failed = 0
        self.by_kind: dict[str, Latencies] = defaultdict(Latencies)
        self.sent_at = Latencies()
        self.late = Latencies()

    @property
    def intended(self) -> Latencies:
        """Those of all kinds."""
        every = Latencies()
        for one in self.by_kind.values():
            every.take(one)
        return every


class Record:
    """Everything counted in a run; `directory` None writes nothing. Times are seconds of `time.perf_counter()`.

    `began_ms` is the wall clock at the start, in milliseconds; `jtl_every` writes one sample in so many, 0 none.
    `busy` gives the share of a core this process used since it was last asked.
    """

    def __init__(
        self,
        directory: Path | None,
        start: float,
        began_ms: int,
        jtl_every: int = 1,
        busy: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.start = start
        self._began_ms = began_ms
        self._every = jtl_every if directory is not None else 0
        self._busy = busy
        self.now = Second()
        self.total = Second()
        self.codes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.rows: list[dict[str, float]] = []
        self.in_flight = 0
        self.seen = 0
        self._lines: list[str] = []
        self._files: list[TextIO] = []
        if directory is not None:
            self._seconds = self._open(directory / SECONDS, ",".join(COLUMNS))
            if self._every:
                self._samples = self._open(directory / SAMPLES, JTL)

    def _open(self, path: Path, head: str) -> TextIO:
        file = path.open("w", encoding="utf-8", newline="")
        file.write(head + "\n")
        file.flush()
        self._files.append(file)
        return file

    def skipped(self) -> None:
        """A customer came and nobody could serve them: too many were under way."""
        self.now.skipped += 1

    def answered(
        self, kind: str, intended: float, sent: float, done: float, code: str, approved: bool, failed: str
    ) -> None:
        """One transaction has ended; `failed` says why it counts as failed, "" where it does not."""
        now = self.now
        from_intended = int((done - intended) * 1e6)
        from_sent = int((done - sent) * 1e6)
        now.sent += 1
        self.codes[code or "silence"] += 1
        if failed:
            now.failed += 1
            self.failures[failed] += 1
        elif approved:
            now.approved += 1
        else:
            now.declined += 1
        now.by_kind[kind].add(from_intended)
        now.sent_at.add(from_sent)
        if not self._every:
            return
        self.seen += 1
        if self.seen % self._every == 0:
            stamp = self._began_ms + int((intended - self.start) * 1000)
            flying = self.in_flight
            self._lines.append(
                f"{stamp},{from_intended // 1000},{kind},{code or 'none'},,open 1-1,bin,"
                f"{'false' if failed else 'true'},{failed},0,0,{flying},{flying},,{from_sent // 1000},0,0\n"
            )

    def turn(self) -> dict[str, float]:
        """A second is over: its row, written and begun anew."""
        now, total = self.now, self.total
        self.now = Second()
        ended = now.approved + now.declined + now.failed
        quantiles = [v / 1000 for one in (now.intended, now.sent_at) for v in one.quantiles_us((50.0, 99.0))]
        row: dict[str, float] = dict(
            zip(
                COLUMNS,
                (
                    len(self.rows), now.offered, now.skipped, now.sent, ended - now.failed, now.approved, now.declined,
                    now.failed, self.in_flight, *quantiles, now.late.quantiles_us((99.0,))[0] / 1000,
                    round(self._busy(), 3),
                ),
                strict=True,
            )
        )  # fmt: skip
        self.rows.append(row)
        for name in ("offered", "skipped", "sent", "approved", "declined", "failed"):
            setattr(total, name, getattr(total, name) + getattr(now, name))
        for kind, latencies in now.by_kind.items():
            total.by_kind[kind].take(latencies)
        total.sent_at.take(now.sent_at)
        total.late.take(now.late)
        self._write(row)
        return row

    def _write(self, row: dict[str, float]) -> None:
        if not self._files:
            return
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row.values())
        self._seconds.write(text.getvalue())
        if self._lines:
            self._samples.writelines(self._lines)
            self._lines.clear()
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """The last second, if anything came in it; files are closed."""
        if self.now.offered or self.now.sent:
            self.turn()
        for file in self._files:
            file.close()
        self._files.clear()

    def figures(self, seconds: float) -> dict[str, Any]:
        """The whole run, for JSON; `seconds` is how long customers came."""
        total = self.total
        ended = max(1, total.sent)
        return {
            "seconds": round(seconds, 3),
            "offered": total.offered,
            "skipped": total.skipped,
            "sent": total.sent,
            "approved": total.approved,
            "declined": total.declined,
            "failed": total.failed,
            "failed_share": round(total.failed / ended, 6),
            "per_second": round(total.sent / max(seconds, 1e-9), 1),
            "codes": dict(self.codes.most_common()),
            "failures": dict(self.failures.most_common()),
            "intended_ms": total.intended.ms(),
            "sent_ms": total.sent_at.ms(),
            "late_ms": total.late.ms(),
            "by_kind": {kind: {"count": one.total, **one.ms()} for kind, one in sorted(total.by_kind.items())},
        }
