"""The report page of a day: one self-contained HTML file with charts, in English and Chinese."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from switch.wire.codes import RESPONSE_CODES
from switch.wire.transactions import BY_NAME

if TYPE_CHECKING:
    from scenarios.demo import DayResult

WIDTH, HEIGHT, LEFT, BOTTOM = 860, 220, 56, 24


def polyline(points: list[tuple[float, float]], right: float, top: float) -> str:
    """SVG points of (x, y) data scaled to the chart's frame; `right` and `top` are the data's maxima."""
    wide, high = WIDTH - LEFT - 8, HEIGHT - BOTTOM - 8
    return " ".join(
        f"{LEFT + x / max(right, 1e-9) * wide:.1f},{8 + high - min(y, top) / max(top, 1e-9) * high:.1f}"
        for x, y in points
    )


def nice_top(value: float) -> float:
    """The next round number at or above a maximum: 1, 2 or 5 times a power of ten."""
    step = 1.0
    while step * 10 <= value:
        step *= 10
    while step > value > 0:
        step /= 10
    return next((step * factor for factor in (1, 2, 5, 10) if step * factor >= value), value)


def chart(points: dict[str, list[tuple[float, float]]], marks: list[tuple[float, str]], unit: str) -> dict[str, Any]:
    """What the template needs to draw lines over time: series, axis labels and vertical marks."""
    right = max((x for line in points.values() for x, _ in line), default=1.0)
    top = nice_top(max((y for line in points.values() for _, y in line), default=1.0))
    high = HEIGHT - BOTTOM - 8
    wide = WIDTH - LEFT - 8
    return {
        "lines": [(name, polyline(line, right, top)) for name, line in points.items()],
        "ys": [(8 + high - share * high, f"{top * share:g}") for share in (0, 0.25, 0.5, 0.75, 1)],
        "xs": [(LEFT + share * wide, f"{right * share:.0f} s") for share in (0, 0.25, 0.5, 0.75, 1)],
        "marks": [(LEFT + at / max(right, 1e-9) * wide, text) for at, text in marks],
        "unit": unit,
    }


def bars(counts: dict[str, int], names: dict[str, str]) -> list[dict[str, Any]]:
    """Horizontal bars, largest first, as (label, count, width in percent)."""
    top = max(counts.values(), default=1)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [{"label": names.get(k, k), "count": n, "width": max(0.4, 100 * n / top)} for k, n in ordered]


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
        ),
        by_response=bars(data["by_response"], {**codes, "silence": "-- no answer 无应答"}),
        by_transaction=bars(data["by_transaction"], {name: f"{row.en} {row.zh}" for name, row in BY_NAME.items()}),
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        bottom=BOTTOM,
        version=version("shoudan"),
    )
    path.write_text(page, encoding="utf-8")
    return path
