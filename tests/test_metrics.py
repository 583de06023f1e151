"""The page of metrics over a switch that has worked: its numbers, its labels, its manners; the files that read it."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from house import House
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from switch.app.dashboard import FILE, PANELS, dashboard, text
from switch.app.measures import centre_families, switch_families
from switch.clearing.schema import SWITCH_TABLES
from switch.net.disk import Disk
from switch.net.metrics import Family, LoopLag, MetricsPage
from switch.net.perform import Performer
from switch.timings import ANSWER_BOUNDS_S, Timings
from terminals.device import pos

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"

LABELS = {
    "version", "python", "process", "peer", "direction", "transaction", "response_class", "on_us", "response_code",
    "result", "reason", "state", "id", "le", "action", "event",
}  # fmt: skip
"""All labels there are. None of them names a card, a terminal or a merchant."""

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")


def worked() -> House:
    """A switch after two sales, a refusal, a silence and a wrong MAC."""
    house = House(rules=[{"action": "silence", "kind": "sale", "every": 3, "name": "lost"}])
    for memory in house.memories[:3]:
        assert house.run(pos.sign_in(memory, house.line)).approved
        house.run(pos.sale(memory, house.line, house.card(1, 1), 1200))
    house.run(pos.sale(house.memories[0], house.line, house.card(0), 700))
    house.run(pos.sale(house.memories[0], house.line, house.card(1, 2), 100_000_000_00))
    house.run(pos.sale(house.memories[0], house.line, house.card(1, 1), 900), pin="000000")
    return house


def on_page(house: House, tmp_path: Path, scene: Callable[[MetricsPage], Awaitable[Any]], side: str = "switch") -> Any:
    """Run a scene with the page of a house's switch, or of its centre."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        disk = Disk(tmp_path / f"{side}.db", SWITCH_TABLES)
        machine: Any = house.engine if side == "switch" else house.centres[side]
        performer = Performer(machine, disk, loop, lambda error: None)
        performer.now = lambda: house.now  # type: ignore[method-assign]
        for number, (table, row) in enumerate(house.rows if side == "switch" else [], 1):
            disk.add(number, table, row)
        disk.commit()

        def families(lag: LoopLag) -> list[Family]:
            if side == "switch":
                return switch_families(house.engine, performer, lag)
            return centre_families(house.centres[side], performer, lag)

        page = MetricsPage(families)
        try:
            return await scene(page)
        finally:
            page.close()
            disk.close()

    return asyncio.run(main())


def scraped(house: House, tmp_path: Path, side: str = "switch") -> dict[str, Metric]:
    async def scene(page: MetricsPage) -> str:
        await asyncio.sleep(0.25)
        return page.render()[0].decode()

    return {family.name: family for family in text_string_to_metric_families(on_page(house, tmp_path, scene, side))}


def value(page: dict[str, Metric], name: str, /, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    samples = [sample for family in page.values() for sample in family.samples if sample.name == name]
    assert samples, name
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


def test_the_numbers_are_those_of_the_switch(tmp_path: Path) -> None:
    house = worked()
    numbers = house.engine.office.statistics
    page = scraped(house, tmp_path)
    assert numbers.timeouts >= 1
    assert numbers.approved >= 2
    assert numbers.declined >= 2
    all_of_them = value(page, "shoudan_authorizations_total")
    assert all_of_them == numbers.authorizations == value(page, "shoudan_responses_total")
    assert value(page, "shoudan_authorizations_total", response_class="approved") == numbers.approved
    assert value(page, "shoudan_authorizations_total", response_class="system") == numbers.timeouts
    assert value(page, "shoudan_authorizations_total", on_us="on-us") == 1
    assert value(page, "shoudan_authorizations_total", transaction="sale") == all_of_them
    assert value(page, "shoudan_timeouts_total", peer="cups") == numbers.timeouts
    assert value(page, "shoudan_reversals_total", reason="timeout") == numbers.timeouts
    assert value(page, "shoudan_reversals_total") == numbers.reversals_queued
    assert value(page, "shoudan_reversals_acknowledged_total") == numbers.reversals_acked
    assert value(page, "shoudan_messages_total", direction="in") == numbers.messages
    assert value(page, "shoudan_messages_total", peer="terminals", direction="out") == numbers.replies
    assert value(page, "shoudan_sign_ins_total") == 3
    assert value(page, "shoudan_terminals") == 6
    assert value(page, "shoudan_link_ready") == 2
    assert value(page, "shoudan_inflight") == value(page, "shoudan_saf_depth") == 0
    assert value(page, "shoudan_journal_rows_total") == len(house.rows)
    assert value(page, "shoudan_journal_commit_rows_sum") == len(house.rows)
    assert value(page, "shoudan_journal_commit_duration_seconds_count") == 1
    assert value(page, "shoudan_loop_lag_seconds_count") >= 1
    assert value(page, "shoudan_build_info", process="switch") == 1
    assert value(page, "shoudan_invariant_violations_total") == 0
    assert {s.labels["id"] for s in page["shoudan_invariant_violations"].samples} == {
        "link_key_reused", "stored_key_reused", "answered_twice", "row_number_gap",
    }  # fmt: skip


def test_histograms_count_every_answer_once(tmp_path: Path) -> None:
    house = worked()
    page = scraped(house, tmp_path)
    answered = value(page, "shoudan_authorizations_total") - house.engine.office.statistics.timeouts
    name = "shoudan_authorization_duration_seconds"
    sent = answered - value(page, "shoudan_authorizations_total", on_us="unknown")
    assert value(page, f"{name}_count") == value(page, f"{name}_bucket", le="+Inf") == sent
    for peer in ("cups", "core"):
        buckets = [s for s in page[name].samples if s.name == f"{name}_bucket" and s.labels["peer"] == peer]
        assert [float(s.labels["le"]) for s in buckets] == [*ANSWER_BOUNDS_S, float("inf")]
        counts = [s.value for s in buckets]
        assert counts == sorted(counts)


def test_a_bound_belongs_to_its_bucket() -> None:
    timings = Timings((1.0, 2.0))
    for seconds in (0.0, 1.0, 1.0001, 2.0, 2.1, 60.0):
        timings.add(seconds)
    assert timings.counts == [2, 2, 2]
    assert timings.count == 6
    assert timings.total == pytest.approx(66.1001)


def test_stored_messages_are_seen_by_line_and_age(tmp_path: Path) -> None:
    house = House(rules=[{"action": "silence", "kind": "sale"}, {"action": "silence", "kind": "reversal"}])
    memory = house.memories[0]
    house.run(pos.sign_in(memory, house.line))
    house.run(pos.sale(memory, house.line, house.card(1), 1200))
    house.pass_time(100)
    page = scraped(house, tmp_path)
    assert value(page, "shoudan_saf_depth", peer="cups") == 1
    assert value(page, "shoudan_saf_depth", peer="core") == 0
    assert 100 <= value(page, "shoudan_saf_oldest_seconds", peer="cups") < 200
    house.disconnect("cups")
    page = scraped(house, tmp_path / "again")
    assert (value(page, "shoudan_link_ready", peer="cups"), value(page, "shoudan_link_ready", peer="core")) == (0, 1)


def test_wrong_macs_and_bad_bytes_are_told_apart(tmp_path: Path) -> None:
    house = House()
    memory = house.memories[0]
    house.run(pos.sign_in(memory, house.line))
    link = house.link()
    house.deliver(link, b"\x02\x00 this is no message")
    house.meddle = lambda name, send: send._replace(body=send.body[:-1] + b"?") if name == "cups" else send
    house.run(pos.sale(memory, house.line, house.card(1), 1200))
    page = scraped(house, tmp_path)
    assert value(page, "shoudan_decode_errors_total", reason="message") == 1
    assert value(page, "shoudan_mac_failures_total", peer="terminals") == 0
    assert value(page, "shoudan_mac_failures_total", peer="cups") >= 1
    assert value(page, "shoudan_mac_failures_total") == house.engine.office.statistics.mac_failures


def test_a_gap_in_the_rows_numbers_is_a_violation(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "gap.db", SWITCH_TABLES)
    table, row = worked().rows[0]
    for number in (1, 2, 4, 5):
        disk.add(number, table, (number, *row[1:]))
    assert disk.gaps == 1
    disk.commit()
    disk.close()
    again = Disk(tmp_path / "gap.db", SWITCH_TABLES)
    again.add(6, table, (6, *row[1:]))
    assert again.gaps == 0
    again.close()


def test_labels_are_few_and_name_nobody(tmp_path: Path) -> None:
    house = worked()
    for side in ("switch", "cups"):
        page = scraped(house, tmp_path / side, side)
        for family in page.values():
            for sample in family.samples:
                own = {} if family.name.startswith(("process_", "python_")) else sample.labels
                assert set(own) <= LABELS, family.name
                for name, label in own.items():
                    if name not in ("version", "python", "le"):
                        assert not re.search(r"\d{3}", label), (family.name, label)
                        assert len(label) < 32
                assert not {m.tid for m in house.memories} & set(sample.labels.values())


def test_names_follow_the_customs(tmp_path: Path) -> None:
    for family in all_families(tmp_path):
        assert re.fullmatch(r"shoudan_[a-z]+(_[a-z]+)*", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert not any(label in family.name.split("_") for label in family.labels if label != "id"), family.name
        assert family.help.endswith("."), family.name
        assert not re.search(r"_(ms|millis|minutes|kb)(_|$)", family.name)


def all_families(tmp_path: Path) -> list[Family]:
    """Those of a switch and, once, those a centre has beside them."""
    found: dict[str, Family] = {}
    house = House()
    for side, make in (("switch", switch_families), ("cups", centre_families)):

        async def scene(page: MetricsPage, side: str = side, make: Any = make) -> None:
            disk = Disk(tmp_path / f"names-{side}.db", SWITCH_TABLES)
            machine: Any = house.engine if side == "switch" else house.centres[side]
            performer = Performer(machine, disk, asyncio.get_running_loop(), lambda error: None)
            lag = LoopLag(asyncio.get_running_loop())
            for family in make(machine, performer, lag):
                found.setdefault(family.name, family)
            lag.close()
            disk.close()

        on_page(house, tmp_path / side, scene)
    return list(found.values())


def test_the_list_in_the_documents_is_complete(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(shoudan_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", page, re.MULTILINE)
    expected = [
        (family.name, family.kind, " ".join(f"`{label}`" for label in family.labels), family.help)
        for family in all_families(tmp_path)
    ]
    assert listed == expected
    scrape = scraped(worked(), tmp_path / "scrape")
    names = {s.name for family in scrape.values() for s in family.samples if s.name.startswith("process_")}
    assert {name for name in names if f"`{name}`" not in page} == set()


# over HTTP


def over_http(tmp_path: Path, *requests: bytes) -> list[bytes]:
    async def scene(page: MetricsPage) -> list[bytes]:
        await page.listen("127.0.0.1", 0)
        assert page._server is not None
        port = page._server.sockets[0].getsockname()[1]
        answers = []
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            writer.write_eof()
            answers.append(await asyncio.wait_for(reader.read(), 10))
            writer.close()
        return answers

    answers: list[bytes] = on_page(worked(), tmp_path, scene)
    return answers


def test_http(tmp_path: Path) -> None:
    get, head, query, other, post, nonsense, half, long = over_http(
        tmp_path,
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics?x=1 HTTP/1.0\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\r\n",
        b"GET /../etc/passwd HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"GET /metr",
        b"GET /" + b"a" * 20_000 + b"\r\n\r\n",
    )
    top, _, body = get.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain")
    assert f"Content-Length: {len(body)}".encode() in top
    assert b"shoudan_build_info" in body
    assert head.endswith(b"\r\n\r\n")
    assert len(list(openmetrics_families(query.partition(b"\r\n\r\n")[2].decode()))) > 30
    assert other.startswith(b"HTTP/1.1 404")
    assert post.startswith(b"HTTP/1.1 405")
    assert nonsense.startswith(b"HTTP/1.1 405")
    assert half == long == b""


@needs_promtool
def test_promtool_likes_the_page(tmp_path: Path) -> None:
    async def scene(page: MetricsPage) -> bytes:
        await asyncio.sleep(0.15)
        return page.render()[0]

    for side in ("switch", "core"):
        page = on_page(worked(), tmp_path / side, scene, side)
        said = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
        assert said.returncode == 0, said.stderr.decode()
        assert said.stderr == b""


# what reads the page


def named(query: str) -> set[str]:
    return set(re.findall(r"\b(?:shoudan|process)_\w+", query))


def test_the_dashboard_is_as_the_code_makes_it(tmp_path: Path) -> None:
    assert (DEPLOY / FILE).read_text(encoding="utf-8") == text(), "run: shoudan dashboard --out deploy"
    board = dashboard()
    assert board["id"] is None
    panels = board["panels"]
    assert len(panels) == len(PANELS)
    known = {s.name for family in scraped(worked(), tmp_path).values() for s in family.samples}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, "panels overlap"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert named(target["expr"]) <= known
    assert "[5m]" not in json.dumps(board), "rates are over $__rate_interval"


def test_alerts_speak_of_metrics_that_exist(tmp_path: Path) -> None:
    known = {s.name for family in scraped(worked(), tmp_path).values() for s in family.samples}
    rules = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
    assert named(re.sub(r"record: \S+|shoudan-\w+", "", rules)) <= known
    for wanted in (
        "SafGrowing", "ReversalNotAcknowledged", "LinkDown", "SystemSuccessLow", "LatencyHigh", "InvariantViolated",
        "NoTraffic",
    ):  # fmt: skip
        assert f"alert: Shoudan{wanted}\n" in rules


SERIES = """
rule_files: [{rules}]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - {{series: 'shoudan_authorizations_total{{instance="a",response_class="approved"}}', values: '0+95x120'}}
      - {{series: 'shoudan_authorizations_total{{instance="a",response_class="system"}}', values: '0+5x120'}}
      - {{series: 'shoudan_authorizations_total{{instance="b",response_class="approved"}}', values: '0+95x120'}}
      - {{series: 'shoudan_authorizations_total{{instance="c",response_class="system"}}', values: '0+5x120'}}
      - {{series: 'shoudan_saf_depth{{instance="a",peer="cups"}}', values: '0+10x120'}}
      - {{series: 'shoudan_saf_depth{{instance="b",peer="cups"}}', values: '100x120'}}
      - {{series: 'shoudan_saf_oldest_seconds{{instance="a",peer="cups"}}', values: '0+15x120'}}
      - {{series: 'shoudan_link_ready{{instance="a",peer="cups"}}', values: '1x20 0x100'}}
      - {{series: 'shoudan_invariant_violations_total{{instance="a",id="answered_twice"}}', values: '0x10 1x110'}}
      - {{series: 'shoudan_messages_total{{instance="a",peer="terminals",direction="in"}}', values: '7x120'}}
      - {{series: 'shoudan_messages_total{{instance="b",peer="terminals",direction="in"}}', values: '0+7x120'}}
      - {{series: '{bucket}{{instance="a",peer="cups",le="2"}}', values: '0+1x120'}}
      - {{series: '{bucket}{{instance="a",peer="cups",le="5"}}', values: '0+9x120'}}
      - {{series: '{bucket}{{instance="a",peer="cups",le="+Inf"}}', values: '0+9x120'}}
    promql_expr_test:
      - expr: shoudan:system_success:ratio_rate5m
        eval_time: 20m
        exp_samples:
          - {{labels: 'shoudan:system_success:ratio_rate5m{{instance="a"}}', value: 0.95}}
          - {{labels: 'shoudan:system_success:ratio_rate5m{{instance="b"}}', value: 1}}
          - {{labels: 'shoudan:system_success:ratio_rate5m{{instance="c"}}', value: 0}}
      - expr: shoudan:business_success:ratio_rate5m{{instance="c"}}
        eval_time: 20m
        exp_samples:
          - {{labels: 'shoudan:business_success:ratio_rate5m{{instance="c"}}', value: 0}}
      - expr: sort(count by (alertname, instance) (ALERTS{{alertstate="firing"}}))
        eval_time: 25m
        exp_samples:
{firing}
"""
FIRING = (
    ("ShoudanSystemSuccessLow", "a"), ("ShoudanSystemSuccessLow", "c"), ("ShoudanBusinessSuccessLow", "c"),
    ("ShoudanSafGrowing", "a"), ("ShoudanReversalNotAcknowledged", "a"), ("ShoudanLinkDown", "a"),
    ("ShoudanInvariantViolated", "a"), ("ShoudanNoTraffic", "a"), ("ShoudanLatencyHigh", "a"),
)  # fmt: skip


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    line = """          - {{labels: '{{alertname="{}",instance="{}"}}', value: 1}}"""
    firing = "\n".join(line.format(*one) for one in FIRING)
    bucket = "shoudan_authorization_duration_seconds_bucket"
    test = tmp_path / "test.yml"
    test.write_text(SERIES.format(rules=DEPLOY / "alerts.yml", firing=firing, bucket=bucket))
    said = subprocess.run(["promtool", "test", "rules", str(test)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


@needs_promtool
def test_promtool_likes_the_configuration() -> None:
    said = subprocess.run(
        ["promtool", "check", "config", str(DEPLOY / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
