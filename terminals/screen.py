"""Tables and pictures of a run on the screen, for people."""

import time
from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from switch.wire.codes import RESPONSE_CODES
from switch.wire.transactions import BY_NAME

SPARK = "▁▂▃▄▅▆▇█"
OPEN_SHOWN_MAX: Final = 20
QUIET_S: Final = 5.0


def spark(values: list[float], width: int = 40) -> str:
    """The last values as a small picture."""
    shown = values[-width:]
    top = max(shown, default=0.0) or 1.0
    return "".join(SPARK[min(7, int(value / top * 7.99))] for value in shown)


_OFFLINE: Final = {"Y1": "approved offline 脱机批准", "Y3": "unable to go online, approved 不能联机脱机批准"}
"""Decisions of chips that are no host's answers."""


def answers(by_transaction: Mapping[str, int], by_response: Mapping[str, int]) -> Table:
    """Transactions and response codes side by side, the most frequent first."""
    table = Table(title="Answers 应答", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("transaction 交易", "response 应答码"):
        table.add_column(title)
        table.add_column("count", justify="right")
    kinds = sorted(by_transaction.items(), key=lambda item: -item[1])
    codes = sorted(by_response.items(), key=lambda item: -item[1])
    for n in range(max(len(kinds), len(codes))):
        kind = (transaction(kinds[n][0]), f"{kinds[n][1]:,}") if n < len(kinds) else ("", "")
        code = (response(codes[n][0]), f"{codes[n][1]:,}") if n < len(codes) else ("", "")
        table.add_row(*kind, *code)
    return table


def transaction(kind: str) -> str:
    return f"{BY_NAME[kind].zh} {BY_NAME[kind].en}"


def response(code: str) -> str:
    """A response code and what it means; "silence" is none at all."""
    if code == "silence":
        return "-- no answer 无应答"
    if code in _OFFLINE:
        return f"{code} {_OFFLINE[code]}"
    entry = RESPONSE_CODES.get(code)
    return f"{code} {entry.en}" if entry else code


class Screen:
    """The run as it goes. On a terminal it is drawn; elsewhere a line is printed every few seconds.

    `rows` and `tail` say what is shown beside the rate; a longer run than a fleet's says more.
    """

    def __init__(self, console: Console, seconds: float) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("[bold]{task.description:<20}"), BarColumn(40), TimeElapsedColumn(), console=console
        )
        self._task = self._bar.add_task("starting 启动", total=seconds)
        self._last: dict[str, Any] = {}
        self._rates: list[float] = []
        self._quiet_until = 0.0

    def tell(self, status: dict[str, Any]) -> None:
        """Take a line of progress."""
        before, self._last = self._last, status
        if before and status["elapsed"] > before["elapsed"]:
            done = status["authorizations"] - before["authorizations"]
            self._rates.append(done / (status["elapsed"] - before["elapsed"]))
        self._bar.update(self._task, completed=status["elapsed"], description=status["phase"])
        if not self._console.is_terminal and time.monotonic() > self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET_S
            self._console.print(self._line(), highlight=False, soft_wrap=True)

    @property
    def _rate(self) -> float:
        return self._rates[-1] if self._rates else 0.0

    def _line(self) -> str:
        s = self._last
        return (
            f"{s['elapsed']:6.1f} s  {s['phase']:<14} {s['authorizations']:>8,} transactions  {self._rate:7.0f}/s  "
            f"p50 {s['p50']:.1f} ms  p99 {s['p99']:.1f} ms  {self.tail(s)}"
        )

    def tail(self, s: Mapping[str, Any]) -> str:
        """The end of a printed line."""
        return f"{s['owing']:,} reversals waiting"

    def rows(self, s: Mapping[str, Any]) -> list[tuple[str, ...]]:
        """What is drawn below the rate, beside approvals and latency."""
        return [
            ("no answer 无应答", f"[red]{s['unknown']:,}", "reversals waiting 待冲正", f"[red]{s['owing']:,}"),
            ("open batches 未结算", f"{s['unsettled']:,}"),
        ]

    def __rich__(self) -> Group:
        if not self._last:
            return Group(self._bar)
        s = self._last
        grid = Table.grid(padding=(0, 3))
        count = f"[bold]{s['authorizations']:,}"
        grid.add_row("transactions 交易", count, "rate 速率", f"[bold]{self._rate:,.0f}/s", spark(self._rates))
        grid.add_row("approved 批准", f"[green]{s['approved']:,}", "declined 拒绝", f"[yellow]{s['declined']:,}")
        grid.add_row("latency p50 / p99", f"{s['p50']:.1f} / {s['p99']:.1f} ms")
        for row in self.rows(s):
            grid.add_row(*row)
        return Group(self._bar, grid)


def headline(data: Mapping[str, Any]) -> Table:
    """How many, how well, how fast: the first rows of a summary, to be added to."""
    grid = Table.grid(padding=(0, 2))
    latency = data["latency_ms"]
    grid.add_row(
        "transactions 交易",
        f"{data['authorizations']:,}  ({data['authorizations_per_second']:,.1f}/s over {data['seconds']:.0f} s)",
    )
    business, system = data["business_success_rate"], data["system_success_rate"]
    grid.add_row("approved 批准", f"{data['approved']:,}  business success rate 交易成功率 {business:.2%}")
    grid.add_row("declined 拒绝", f"{data['declined']:,}  system success rate 系统成功率 {system:.2%}")
    grid.add_row("no answer 无应答", f"{data['unknown']:,}")
    grid.add_row(
        "latency 时延", f"p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms, p99.9 {latency['p99_9']:.1f} ms"
    )
    return grid


def summary(data: Mapping[str, Any], console: Console) -> None:
    """What happened, for people."""
    reversals = data["reversals"]
    grid = headline(data)
    grid.add_row("reversals 冲正", ", ".join(f"{count:,} {state}" for state, count in reversals.items()))
    kept = ", ".join(f"{count:,} {verdict}" for verdict, count in data["settlements"].items())
    grid.add_row("settlements 结算", kept or "none")
    taps = data.get("taps")
    if taps:
        refused = sum(taps["refused"].values())
        yuan = f"{taps['mean_minor'] / 100:.2f} yuan a tap 元每次"
        grid.add_row("rides 乘车", f"{taps['rides']:,}, {refused:,} refused 拒绝, {yuan}")
    for reason, count in data["unsent"].items():
        grid.add_row("not sent 未发出", escape(f"{count:,}: {reason}"))
    for reason, count in data["faults"].items():
        grid.add_row("no message 无法组包", escape(f"{count:,}: {reason}"))
    console.print(grid)
    console.print(answers(data["by_transaction"], data["by_response"]))
    left = data["open"]
    for entry in left[:OPEN_SHOWN_MAX]:
        detail = f"{entry['items']} items" if entry["what"] == "batch" else f"{entry['kind']} {entry['stan']}"
        where = f"terminal {entry['tid']}, {entry['what']}, batch {entry['batch'] or '-'}"
        console.print(f"open 未结: {where}, {detail}", style="red", markup=False)
    if len(left) > OPEN_SHOWN_MAX:
        console.print(f"and {len(left) - OPEN_SHOWN_MAX:,} more (--json has all)", style="red")


class StormScreen:
    """A storm as it goes: a line every few seconds, or one that is written over where there is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._quiet_until = 0.0

    def tell(self, status: Mapping[str, Any]) -> None:
        """Take a line of progress."""
        drawn = self._console.is_terminal
        if "signed_in" not in status:
            self._console.print(f"{status['phase']}...", highlight=False)
        elif drawn or time.monotonic() > self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET_S
            elapsed = status["elapsed_s"]
            rate = status["signed_in"] / elapsed if elapsed > 0 else 0.0
            failed = f"  failed 失败 {status['failed']:,}" if status["failed"] else ""
            line = (
                f"{elapsed:6.1f} s  signed in 签到 {status['signed_in']:>9,} / {status['terminals']:,}  {rate:,.0f}/s"
            )
            self._console.print(line + failed, end="\r" if drawn else "\n", highlight=False, soft_wrap=True)

    def end(self, data: Mapping[str, Any]) -> None:
        """The figures, for people."""
        grid = Table.grid(padding=(0, 2))
        grid.add_row("terminals 终端", f"{data['terminals']:,}: {data['pos']:,} POS, {data['atm']:,} ATM, "
                     f"{data['validators']:,} validators 车载机")  # fmt: skip
        grid.add_row("signed in 签到", f"{data['signed_in']:,} in {data['sign_in_s']:,.1f} s, "
                     f"{data['sign_ins_per_s']:,.0f}/s")  # fmt: skip
        for reason, count in data["reasons"].items():
            grid.add_row("refused 未成", escape(f"{count:,} times: {reason}"))
        if data["failed"]:
            grid.add_row("not signed in 未签到", f"[red]{data['failed']:,}")
        latency, cpu = data["latency_ms"], data["cpu_us_a_sign_in"]
        grid.add_row("latency 时延", f"p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms")
        grid.add_row("connections 连接", f"{data['connections']:,} from {data['addresses']:,} addresses, "
                     f"{data['ports_an_address']:,} of {data['ports_there_are']:,} ports each; "
                     f"{data['at_once']:,} at a time")  # fmt: skip
        switch = f"; switch 交换 {data['switch_rss_mib']:,.0f} MiB, {cpu['switch']} us" if cpu["switch"] else ""
        grid.add_row("memory, CPU a sign-in", f"fleet 机群 {data['rss_mib']:,.0f} MiB, {cpu['fleet']} us{switch}")
        self._console.print(grid)
        if data["limit"]:
            self._console.print(f"瓶颈 limit: {data['limit']}", markup=False, soft_wrap=True, highlight=False)
        if data["lost"]:
            self._console.print("主机失联 the host was lost", style="red")
