"""The report page of a day: one self-contained HTML file with charts, in English and Chinese."""

import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from switch.app.fees import CARDS
from switch.wire.codes import RESPONSE_CODES
from switch.wire.transactions import APPROVED, BY_NAME
from terminals.slips import CUT_HERE

if TYPE_CHECKING:
    from scenarios.demo import DayResult

FAULTS = {
    "rule_delay": "answers later than the switch waits 迟到应答",
    "rule_silence": "requests and reversals lost on the way 请求丢失",
    "rule_silence_after_posting": "answers lost after posting 应答丢失",
    "rule_code": "refused as a system malfunction 系统异常",
    "rule_disconnect": "line cut 线路中断",
    "power_offs": "terminal lost power in a dialogue 终端断电",
}
"""What is done to a day on purpose, by the name of its counter."""

PLANTED = {
    "nothing": "withdrawals that dispensed nothing 未出钞",
    "partly": "withdrawals that dispensed a part 部分出钞",
    "unknown": "withdrawals of which nobody knew 出钞不明",
    "unheard": "deposits without an answer 存款无应答",
}
"""What was planted at the machines."""

READ = {
    "contactless": "contactless 挥卡", "contact": "contact 插卡", "stripe": "stripe 刷卡", "keyed": "keyed 手输",
    "other": "other 其他",
}  # fmt: skip
"""How cards were read."""

OFFLINE_APPROVALS = ("Y1", "Y3")
"""Answers of chips that no host gave."""

WIDTH, HEIGHT, LEFT, BOTTOM = 860, 220, 56, 24


def nice_top(value: float) -> float:
    """The next round number at or above a maximum: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value)


class Scale(NamedTuple):
    """How a chart's y axis runs: from `low` to `top`, evenly or by powers of ten."""

    low: float
    top: float
    logarithmic: bool

    def height(self, value: float) -> float:
        """A value's height as a share of the axis."""
        value = min(max(value, self.low), self.top)
        if not self.logarithmic:
            return (value - self.low) / (self.top - self.low)
        return math.log(value / self.low) / math.log(self.top / self.low)

    def ticks(self) -> list[float]:
        """Where lines are drawn."""
        if not self.logarithmic:
            return [self.low + (self.top - self.low) * share / 4 for share in range(5)]
        steps = round(math.log10(self.top / self.low))
        return [self.low * 10**step for step in range(steps + 1)]


def scale_of(values: list[float], logarithmic: bool) -> Scale:
    """An axis that holds these values."""
    top = max(values, default=1.0)
    if not logarithmic:
        return Scale(0.0, nice_top(top), False)
    low = min((value for value in values if value > 0), default=1.0)
    bottom = 10.0 ** math.floor(math.log10(low))
    return Scale(bottom, max(bottom * 10, 10.0 ** math.ceil(math.log10(max(top, low)))), True)


def chart(
    points: dict[str, list[tuple[float, float]]], marks: list[tuple[float, str]], unit: str, logarithmic: bool = False
) -> dict[str, Any]:
    """What the template needs to draw lines over time: series, axis labels and vertical marks."""
    right = max((x for line in points.values() for x, _ in line), default=1.0)
    scale = scale_of([y for line in points.values() for _, y in line], logarithmic)
    high, wide = HEIGHT - BOTTOM - 8, WIDTH - LEFT - 8

    def place(x: float, y: float) -> str:
        return f"{LEFT + x / max(right, 1e-9) * wide:.1f},{8 + high - scale.height(y) * high:.1f}"

    return {
        "lines": [(name, " ".join(place(x, y) for x, y in line)) for name, line in points.items()],
        "ys": [(8 + high - scale.height(value) * high, f"{value:,g}") for value in scale.ticks()],
        "xs": [(LEFT + share * wide, f"{right * share:.0f} s") for share in (0, 0.25, 0.5, 0.75, 1)],
        "marks": [(LEFT + at / max(right, 1e-9) * wide, text) for at, text in marks],
        "unit": unit,
    }


def bars(counts: dict[str, int], names: dict[str, str]) -> list[dict[str, Any]]:
    """Horizontal bars, largest first, as (label, count, width in percent)."""
    top = max(counts.values(), default=1)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [{"label": names.get(k, k), "count": n, "width": max(0.4, 100 * n / top)} for k, n in ordered]


def planted_rows(chips: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """What was planted with chips, how often, and what came of it."""
    planted, came = chips["planted"], chips["came"]

    def count(what: str, how: str) -> int:
        return int(came.get(what, {}).get(how, 0))

    return [
        ("forged certificates 伪造TC", planted["forged"], f"{count('forged', '05')} refused 拒绝"),
        ("replayed certificates 重复上送", planted["replayed"], f"{count('replayed', '94')} answered 94"),
        ("flash cards 闪卡", planted["flash"], f"{count('flash', 'once')} debited once 只扣一次"),
        (
            "stripes of chip cards 复合卡刷磁条", planted["swiped"],
            f"{count('swiped', 'by the terminal') + count('swiped', '58')} refused 拒绝 "
            f"({count('swiped', 'by the terminal')} by the terminal, {count('swiped', '58')} by the switch: 58)",
        ),
        ("loads in doubt 可疑圈存", planted["load_doubts"], f"{chips['doubtful_listed']} listed 列入清单"),
    ]  # fmt: skip


def _slips(result: "DayResult", most: int = 3) -> list[str]:
    """A few slips as the terminals printed them."""
    path = result.ground.directory / "slips.txt"
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8").split(CUT_HERE)[:most]


def write_report(result: "DayResult", path: Path) -> Path:
    """Write the page and return its path."""
    environment = Environment(
        loader=PackageLoader("scenarios", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["yuan"] = lambda minor: f"{minor / 100:,.2f}"
    data = result.as_dict()
    timeline = result.fleet["timeline"]
    if timeline:
        timeline = timeline[:-1]  # the last second is not a whole one
    marks = [(result.cutover_s, "cut-over 日切")]
    codes = {code: f"{code} {entry.en} {entry.zh}" for code, entry in RESPONSE_CODES.items()}
    page = environment.get_template("report.html").render(
        data=data,
        books=result.books,
        kinds={name: f"{row.en} {row.zh}" for name, row in BY_NAME.items()},
        rate=chart(
            {
                "answered": [(row["second"], row["count"]) for row in timeline],
                "not approved": [(row["second"], row["not_approved"]) for row in timeline],
            },
            marks,
            "a second",
        ),
        latency=chart(
            {
                "p50": [(row["second"], row["p50"]) for row in timeline],
                "p99": [(row["second"], row["p99"]) for row in timeline],
            },
            marks,
            "ms",
            logarithmic=True,
        ),
        declines=bars(
            {code: n for code, n in data["by_response"].items() if code not in (*APPROVED, *OFFLINE_APPROVALS)},
            {**codes, "silence": "-- no answer 无应答"},
        ),
        read=bars({name: n for name, n in data["chips"]["entries"].items() if n}, READ),
        chip_cards=bars(data["chips"]["profiles"], {}),
        planted_chips=planted_rows(data["chips"]),
        cards=CARDS,
        faults=FAULTS,
        planted=PLANTED,
        slips=_slips(result),
        by_transaction=bars(data["by_transaction"], {name: f"{row.en} {row.zh}" for name, row in BY_NAME.items()}),
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        bottom=BOTTOM,
        version=version("shoudan"),
    )
    path.write_text(page, encoding="utf-8")
    return path
