"""The page of a run: self-contained, pictures as SVG in it, in Chinese and English."""

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

_WIDE, _HIGH, _LEFT, _FOOT = 860, 220, 62, 24
_COLOURS: Final = ("#1f6fb4", "#d9822b", "#3a8f4d", "#b43a3a")
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}"
    ".warn{background:#fff3d6;border-left:4px solid #d9822b;padding:.4em .8em}svg{width:100%;height:auto}"
    "text{font:11px system-ui,sans-serif;fill:#555}"
)

Points = Sequence[tuple[float, float]]


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    step = 1e-3
    while True:
        for part in (1, 2, 5):
            if value <= step * part:
                return step * part
        step *= 10


def plot(lines: Iterable[tuple[str, Points]], x_label: str, y_label: str) -> str:
    """An SVG picture of some lines on common axes that begin at 0."""
    drawn = [(name, list(points)) for name, points in lines]
    right = max((x for _, points in drawn for x, _ in points), default=1.0) or 1.0
    top = _round_up(max((y for _, points in drawn for _, y in points), default=1.0) or 1.0)
    inside, high = _WIDE - _LEFT - 10, _HIGH - _FOOT - 24

    def at(x: float, y: float) -> str:
        return f"{_LEFT + x / right * inside:.1f},{24 + high - y / top * high:.1f}"

    parts = [f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{html.escape(y_label)}">']
    for n in range(5):
        y = top * n / 4
        place = at(0, y).split(",")[1]
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDE - 10}" y1="{place}" y2="{place}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{float(place) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for n in range(6):
        x = right * n / 5
        parts.append(f'<text x="{at(x, 0).split(",")[0]}" y="{_HIGH - 8}" text-anchor="middle">{x:.4g}</text>')
    for n, (name, points) in enumerate(drawn):
        colour = _COLOURS[n % len(_COLOURS)]
        path = " ".join(at(x, y) for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts.append(f'<text x="{_LEFT + 190 * n}" y="14" style="fill:{colour}">{html.escape(name)}</text>')
    parts.append(
        f'<text x="{_WIDE - 10}" y="14" text-anchor="end">{html.escape(y_label)} / {html.escape(x_label)}</text>'
    )
    return "".join(parts) + "</svg>"


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """An HTML table; numbers with their thousands apart."""

    def cell(value: Any) -> str:
        return f"{value:,}" if isinstance(value, int | float) else html.escape(str(value))

    head = "".join(f"<th>{html.escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell(one)}</td>' for one in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


_QUANTILES: Final = ("p50", "p90", "p95", "p99", "p99_9", "p99_99", "max", "mean")


def _pictures(figures: dict[str, Any]) -> str:
    rows = figures["rows"]
    seconds = "秒 s"
    rates = plot(
        [
            ("到达 offered", [(r["second"], r["offered"]) for r in rows]),
            ("应答 answered", [(r["second"], r["answered"]) for r in rows]),
            ("失败 failed", [(r["second"], r["failed"]) for r in rows]),
            ("跳过 skipped", [(r["second"], r["skipped"]) for r in rows]),
        ],
        seconds, "笔/秒 per second",
    )  # fmt: skip
    latency = plot(
        [
            ("p50 计划起 intended", [(r["second"], r["intended_p50_ms"]) for r in rows]),
            ("p99 计划起 intended", [(r["second"], r["intended_p99_ms"]) for r in rows]),
            ("p99 发送起 from send", [(r["second"], r["sent_p99_ms"]) for r in rows]),
        ],
        seconds, "毫秒 ms",
    )  # fmt: skip
    curves = plot(
        [
            (words, [(_nines(share), ms) for share, ms in figures["curves"][name]])
            for name, words in (("intended", "计划起 intended"), ("sent", "发送起 from send"))
        ],
        "个九 nines (1 = 90 %, 2 = 99 %, ...)", "毫秒 ms",
    )  # fmt: skip
    return _memory(figures.get("memory", [])) + (
        f"<h2>每秒笔数 Rate</h2>{rates}<h2>每秒时延 Latency by second</h2>{latency}"
        f"<h2>时延分布 Latency by percentile</h2>{curves}"
    )


def _findings(found: Sequence[dict[str, Any]]) -> str:
    """What a soak had to show."""
    rows = [(f"{one['zh']} {one['en']}", one["found"], "✓" if one["holds"] else "✗") for one in found]
    return f"<h2>浸泡 Soak</h2>{table(('', '', ''), rows)}" if rows else ""


def _memory(rows: Sequence[dict[str, float]]) -> str:
    """What each process of a soak held, by second."""
    if not rows:
        return ""
    names = [name for name in rows[-1] if name != "second"]
    lines = [(name, [(row["second"], row[name]) for row in rows if name in row]) for name in names]
    return f"<h2>内存 Memory</h2>{plot(lines, '秒 s', 'MiB')}"


def _nines(share: float) -> float:
    """0.9 is 1, 0.99 is 2; the last point is cut at six."""
    import math

    return min(6.0, -math.log10(max(1e-6, 1 - share)))


def page(figures: dict[str, Any]) -> str:
    """The whole page of a run's figures."""
    order = figures["order"]
    warned = "".join(
        f'<p class="warn">{html.escape(zh)}<br>{html.escape(en)}</p>' for zh, en in figures["warnings"]
    )  # fmt: skip
    head = table(
        ("", ""),
        [
            ("模式 mode", f"{order['mode']}, {order['entry']}, {order['schedule']}"),
            ("终端 terminals", order["terminals"]),
            ("峰值 peak rate /s", order["rate"]),
            ("时长 seconds", figures["seconds"]),
            ("到达 offered", figures["offered"]),
            ("跳过 skipped", figures["skipped"]),
            ("送出 sent", figures["sent"]),
            ("批准 approved", figures["approved"]),
            ("拒绝 declined", figures["declined"]),
            ("失败 failed", figures["failed"]),
            ("每秒 per second", figures["per_second"]),
            ("发生器占核 generator's share of a core", figures["generator_busy"]),
        ],
    )
    latency = table(
        ("毫秒 ms", *_QUANTILES),
        [
            ("从计划时刻 from the intended instant", *(figures["intended_ms"][q] for q in _QUANTILES)),
            ("从发送 from the send", *(figures["sent_ms"][q] for q in _QUANTILES)),
            ("发生器迟到 generator late", *(figures["late_ms"][q] for q in _QUANTILES)),
            *((kind, *(one[q] for q in _QUANTILES)) for kind, one in figures["by_kind"].items()),
        ],
    )
    soaked = _findings(figures.get("findings", []))
    codes = table(("应答码 DE39", "笔 count"), figures["codes"].items())
    failures = table(("失败 failure", "笔 count"), figures["failures"].items()) if figures["failures"] else ""
    return (
        f'<!doctype html><html lang="zh"><meta charset="utf-8"><title>压测报告 Load test</title><style>{_STYLE}</style>'
        f"<h1>压测报告 Load test</h1>{warned}{head}{soaked}"
        f"<h2>时延 Latency</h2>{latency}{_pictures(figures)}"
        f"<h2>应答 Answers</h2>{codes}{failures}</html>\n"
    )
