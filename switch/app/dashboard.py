"""`shoudan dashboard`: the Grafana dashboard, made from the tables below as deploy/grafana-dashboard.json."""

import json
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from switch.app.config import ConfigError

FILE: Final = "grafana-dashboard.json"
UID: Final = "shoudan-switch"
SCHEMA_VERSION: Final = 39
"""Of the classic model: what Grafana 11 writes, and later versions migrate on load."""

_S: Final = '{instance=~"$instance"}'
_RATE: Final = "[$__rate_interval]"


def _answered(response_class: str = "") -> str:
    labels = f',response_class="{response_class}"' if response_class else ""
    return f'sum(rate(shoudan_authorizations_total{{instance=~"$instance"{labels}}}{_RATE}))'


_ALL: Final = _answered()
_APPROVED: Final = _answered("approved")
_SYSTEM: Final = _answered("system")
BUSINESS_SUCCESS: Final = f"({_APPROVED} or vector(0)) / ({_ALL} > 0)"
SYSTEM_SUCCESS: Final = f"1 - ({_SYSTEM} or vector(0)) / ({_ALL} > 0)"


def _quantile(share: float, name: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({name}_bucket{_S}{_RATE})))"


class Panel(NamedTuple):
    """A panel: its queries as (PromQL, legend), and how many of the 24 columns it takes."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 8
    stack: bool = False


PANELS: Final = (
    Panel("Authorizations 交易", "reqps", ((_ALL, ""),), "stat", 4),
    Panel("Business success 交易成功率", "percentunit", ((BUSINESS_SUCCESS, ""),), "stat", 4),
    Panel("System success 系统成功率", "percentunit", ((SYSTEM_SUCCESS, ""),), "stat", 4),
    Panel(
        "Latency p99 时延", "s", ((_quantile(0.99, "shoudan_authorization_duration_seconds"), ""),), "stat", 4
    ),
    Panel("Stored for the other side 待发", "short", ((f"sum(shoudan_saf_depth{_S})", ""),), "stat", 4),
    Panel("Invariant violations (0)", "short", ((f"sum(shoudan_invariant_violations_total{_S})", ""),), "stat", 4),
    Panel(
        "By response class 应答类别", "reqps",
        ((f"sum by (response_class) (rate(shoudan_authorizations_total{_S}{_RATE}))", "{{response_class}}"),),
        stack=True,
    ),
    Panel(
        "By transaction 交易类型", "reqps",
        ((f"sum by (transaction) (rate(shoudan_authorizations_total{_S}{_RATE}))", "{{transaction}}"),), stack=True,
    ),
    Panel(
        "On-us and off-us 本代本与本代他", "reqps",
        ((f"sum by (on_us) (rate(shoudan_authorizations_total{_S}{_RATE}))", "{{on_us}}"),), stack=True,
    ),
    Panel("Success rates 成功率", "percentunit", ((BUSINESS_SUCCESS, "business"), (SYSTEM_SUCCESS, "system"))),
    Panel(
        "Latency by line 时延", "s",
        tuple(
            (_quantile(share, "shoudan_authorization_duration_seconds", "peer"), f"{{{{peer}}}} p{share * 100:g}")
            for share in (0.5, 0.99)
        ),
    ),
    Panel(
        "Response codes 应答码", "reqps",
        ((f"topk(10, sum by (response_code) (rate(shoudan_responses_total{_S}{_RATE})))", "{{response_code}}"),),
    ),
    Panel(
        "Reversals by reason 冲正", "reqps",
        ((f"sum by (reason) (rate(shoudan_reversals_total{_S}{_RATE}))", "{{reason}}"),
         (f"sum(rate(shoudan_reversals_acknowledged_total{_S}{_RATE}))", "acknowledged")),
    ),
    Panel(
        "Timeouts and late answers 超时与迟到应答", "reqps",
        ((f"sum by (peer) (rate(shoudan_timeouts_total{_S}{_RATE}))", "timeout {{peer}}"),
         (f"sum by (result) (rate(shoudan_late_responses_total{_S}{_RATE}))", "late, {{result}}")),
    ),
    Panel(
        "Stored messages 待发队列", "short",
        ((f"sum by (peer) (shoudan_saf_depth{_S})", "{{peer}}"),),
    ),
    Panel("Oldest stored message", "s", ((f"max by (peer) (shoudan_saf_oldest_seconds{_S})", "{{peer}}"),)),
    Panel("Lines ready 线路", "short", ((f"min by (peer) (shoudan_link_ready{_S})", "{{peer}}"),)),
    Panel("In flight 在途", "short", ((f"sum by (peer) (shoudan_inflight{_S})", "{{peer}}"),)),
    Panel(
        "Messages 报文", "reqps",
        ((f"sum by (peer, direction) (rate(shoudan_messages_total{_S}{_RATE}))", "{{peer}} {{direction}}"),),
    ),
    Panel(
        "Bad input 坏报文", "reqps",
        ((f"sum by (reason) (rate(shoudan_decode_errors_total{_S}{_RATE}))", "decode, {{reason}}"),
         (f"sum by (peer) (rate(shoudan_mac_failures_total{_S}{_RATE}))", "MAC, {{peer}}"),
         (f"sum(rate(shoudan_requests_turned_away_total{_S}{_RATE}))", "turned away")),
    ),
    Panel(
        "Connections 连接", "short",
        ((f"sum(shoudan_connections{_S})", "open"),
         (f"sum(increase(shoudan_connections_refused_total{_S}{_RATE}))", "refused")),
    ),
    Panel(
        "Commit 落盘", "s",
        ((_quantile(0.5, "shoudan_journal_commit_duration_seconds"), "p50"),
         (_quantile(0.99, "shoudan_journal_commit_duration_seconds"), "p99")),
    ),
    Panel(
        "Rows 流水", "short",
        ((f"sum(rate(shoudan_journal_rows_total{_S}{_RATE}))", "a second"),
         (f"sum(rate(shoudan_journal_commit_rows_sum{_S}{_RATE}))"
          f" / sum(rate(shoudan_journal_commit_rows_count{_S}{_RATE}))", "a commit")),
    ),
    Panel("Loop lag p99", "s", ((_quantile(0.99, "shoudan_loop_lag_seconds", "instance"), "{{instance}}"),)),
    Panel("CPU", "percentunit", ((f"rate(process_cpu_seconds_total{_S}{_RATE})", "{{instance}}"),)),
    Panel("Memory 内存", "bytes", ((f"process_resident_memory_bytes{_S}", "{{instance}}"),)),
    Panel(
        "Settlements and sign-ins 结算与签到", "reqps",
        ((f"sum by (result) (rate(shoudan_settlements_total{_S}{_RATE}))", "settled, {{result}}"),
         (f"sum(rate(shoudan_sign_ins_total{_S}{_RATE}))", "sign-in")),
    ),
)  # fmt: skip

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_STAT_HEIGHT, _HEIGHT, _COLUMNS = 4, 8, 24


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    height = _STAT_HEIGHT if panel.kind == "stat" else _HEIGHT
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.unit == "percentunit" and "success" in panel.title.lower():
        defaults["max"] = 1
    options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if panel.kind == "timeseries":
        custom = {"fillOpacity": 20 if panel.stack else 0, "showPoints": "never"}
        defaults["custom"] = custom | ({"stacking": {"mode": "normal"}} if panel.stack else {})
        options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": _SOURCE, "expr": query, "legendFormat": legend or "__auto"}
            for n, (query, legend) in enumerate(panel.queries)
        ],
    }


def _laid_out() -> list[dict[str, Any]]:
    """The panels from left to right, line after line."""
    found: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(PANELS, 1):
        if x + panel.width > _COLUMNS:
            x, y = 0, y + height
        found.append(_panel(number, panel, x, y))
        x, height = x + panel.width, found[-1]["gridPos"]["h"]
    return found


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's classic model; the data source is chosen when it is opened."""
    instances = {"query": 'label_values(shoudan_build_info{process="switch"}, instance)', "refId": "instances"}
    return {
        "id": None,
        "uid": UID,
        "title": "Shoudan: acquiring switch 收单交换",
        "tags": ["shoudan", "iso8583"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                {
                    "name": "instance",
                    "type": "query",
                    "label": "switch",
                    "datasource": _SOURCE,
                    "definition": instances["query"],
                    "query": instances,
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
                },
            ]
        },
        "panels": _laid_out(),
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), ensure_ascii=False, indent=2) + "\n"


def write_dashboard(
    out: Annotated[Path, typer.Option(help=f"Directory for {FILE}.")] = Path("deploy"),
) -> None:
    """Write the Grafana dashboard, to be imported or provisioned as it is.

    It needs a Prometheus that scrapes what `metrics = "HOST:PORT"` in switch.toml serves; deploy/prometheus.yml shows
    one, deploy/alerts.yml the alerts.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / FILE).write_text(text(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}") from None
    typer.echo(str(out / FILE))


def register(app: typer.Typer) -> None:
    """Add `shoudan dashboard`."""
    app.command("dashboard")(write_dashboard)
