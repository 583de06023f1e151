"""`shoudan stats`: figures of hand-made rows step by step, and the command on small journals."""

import csv
import datetime
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from switch.app.config import ConfigError
from switch.app.stats import read_places, register
from switch.clearing.figures import DIMENSIONS, Entry, Figures, Place, Tally, day_of, response_class
from switch.clearing.schema import JOURNAL, SWITCH_TABLES
from switch.net.disk import Disk
from switch.wire.codes import RESPONSE_CODES

app = typer.Typer()
app.callback()(lambda: None)
register(app)
RUNNER = CliRunner()

NOON_MS = 1_793_160_000_000  # 2026-10-28 12:00 in Beijing
BLANK = Entry(
    at_ms=NOON_MS, state="sent", kind="sale", tid="10000001", link="cups", net_time="1028120000", acquirer="04384530",
    rrn="301000000001", amount=10_000, entry_mode="021", mcc="5411", on_us=0, response_code="", settlement_date="",
    reason="",
)  # fmt: skip


def life(rrn: int, *states: tuple[str, dict[str, Any]], **all_rows: Any) -> list[Entry]:
    """A transaction's rows, a state and what is special about it each."""
    return [BLANK._replace(rrn=f"301{rrn:09d}", state=state, **all_rows, **own) for state, own in states]


def paid(rrn: int, ms: int = 8, code: str = "00", **all_rows: Any) -> list[Entry]:
    """Sent and answered after `ms`."""
    answer = {"at_ms": NOON_MS + ms, "response_code": code, "settlement_date": "1028"}
    return life(rrn, ("sent", {}), ("answered", answer), **all_rows)


def silent(rrn: int, reason: str = "timeout") -> list[Entry]:
    """Sent and reversed for want of an answer, which comes late; the reversal is taken."""
    gone = {"at_ms": NOON_MS + 3000, "response_code": "98"}
    return life(
        rrn, ("sent", {}), ("reversal_queued", gone | {"reason": reason}),
        ("late", gone | {"reason": "00", "settlement_date": "1029"}), ("reversal_acked", gone),
    )  # fmt: skip


def of(rows: list[Entry], **options: Any) -> Tally:
    tally = Tally(**options)
    tally.read(rows)
    return tally


def test_a_day_step_by_step() -> None:
    rows = paid(1, 8) + paid(2, 20, "51") + paid(3, 4, "96")
    figures = of(rows).total
    assert (figures.count, figures.approved, figures.declined, figures.silent) == (3, 1, 2, 0)
    assert figures.system_faults == 1
    assert figures.amount_minor == figures.net_minor == 10_000
    rows += silent(4)
    figures = of(rows).total
    assert (figures.count, figures.approved, figures.declined, figures.silent) == (4, 1, 2, 1)
    assert (figures.system_faults, figures.late, figures.reversed) == (2, 1, 0)
    assert figures.business_success == 1 / 4
    assert figures.system_success == 2 / 4
    # refused by the switch itself: a decline, no latency, no line
    rows += life(5, ("refused", {"response_code": "25", "link": "", "net_time": ""}))
    figures = of(rows).total
    assert (figures.count, figures.declined, figures.system_faults) == (5, 3, 2)
    assert sorted(figures.latencies.elements()) == [4, 8, 20]
    assert (figures.latency(0.5), figures.latency(0.99)) == (8, 20)
    # an approval taken back later stays an approval, and is reversed
    rows += paid(6, 12, amount=2_500)
    rows += life(6, ("reversal_queued", {"response_code": "00", "settlement_date": "1028", "reason": "terminal 98"}),
                 amount=2_500)  # fmt: skip
    figures = of(rows).total
    assert (figures.count, figures.approved, figures.reversed, figures.silent) == (6, 2, 1, 1)
    assert (figures.amount_minor, figures.reversed_minor, figures.net_minor) == (12_500, 2_500, 10_000)
    # a refund is owed the other way
    rows += paid(7, 9, kind="refund", amount=1_000)
    figures = of(rows).total
    assert (figures.amount_minor, figures.net_minor) == (13_500, 9_000)


def test_no_answer_is_the_systems_fault_however_it_ends() -> None:
    given_up = {"response_code": "98", "at_ms": NOON_MS + 3000, "reason": "timeout"}
    rows = life(1, ("sent", {}), ("answered", given_up), kind="balance", amount=0)
    rows += silent(2, "mismatch") + silent(3, "terminal 98")
    figures = of(rows).total
    assert (figures.count, figures.silent, figures.system_faults) == (3, 3, 3)
    assert not figures.latencies
    assert figures.system_success == 0


def test_an_advice_accepted_for_the_other_side_is_an_approval_without_latency() -> None:
    rows = life(1, ("stored", {"response_code": "00"}), ("delivered", {"response_code": "00"}), kind="refund")
    rows += life(2, ("sent", {}), ("stored", {"response_code": "00", "at_ms": NOON_MS + 3000}), kind="refund")
    rows += life(2, ("suspicious", {"response_code": "00", "reason": "57"}), kind="refund")
    figures = of(rows).total
    assert (figures.count, figures.approved, figures.suspicious) == (2, 2, 1)
    assert not figures.latencies


def test_what_has_not_ended_is_not_counted() -> None:
    tally = of(paid(1) + life(2, ("sent", {})))
    assert (tally.total.count, tally.unfinished) == (1, 1)
    tally.read(life(2, ("answered", {"response_code": "00"})))  # another journal: not the same transaction
    assert (tally.total.count, tally.unfinished) == (2, 1)


def test_every_dimension() -> None:
    places = {"10000001": Place("pos", "湖滨区", "indirect")}
    rows = paid(1, on_us=1, link="core") + paid(2, code="55") + silent(3)
    rows += life(4, ("refused", {"response_code": "15"}), link="", net_time="", tid="10000002", kind="withdrawal")
    seen = {name: set(of(rows, by=[name], places=places).groups) for name in DIMENSIONS}
    assert seen == {
        "transaction": {("sale",), ("withdrawal",)},
        "entry-mode": {("021",)},
        "terminal-type": {("pos",), ("atm",)},
        "district": {("湖滨区",), ("-",)},
        "response-class": {("approved",), ("holder",), ("silence",), ("issuer",)},
        "response-code": {("00",), ("55",), ("silence",), ("15",)},
        "link": {("core",), ("cups",), ("-",)},
        "hour": {("12",)},
        "day": {("1028",)},
        "on-us": {("on-us",), ("off-us",), ("-",)},
        "topology": {("indirect",), ("-",)},
        "mcc": {("5411",)},
        "acquirer": {("04384530",)},
        "card": {("-",)},
    }
    both = of(rows, by=["link", "response-class"]).groups
    assert {key: group.count for key, group in both.items()} == {
        ("core", "approved"): 1, ("cups", "holder"): 1, ("cups", "silence"): 1, ("-", "issuer"): 1,
    }  # fmt: skip


def test_what_comes_later_stands_where_it_was_counted() -> None:
    rows = silent(1) + paid(2)
    rows += life(1, ("suspicious", {"response_code": "98", "settlement_date": "1029", "reason": "25"}))
    rows += life(2, ("reversal_queued", {"response_code": "00", "settlement_date": "1028", "reason": "undeliverable"}))
    groups = of(rows, by=["day", "response-class"]).groups
    assert set(groups) == {("1028", "silence"), ("1028", "approved")}
    assert (groups["1028", "silence"].late, groups["1028", "silence"].suspicious) == (1, 1)
    assert groups["1028", "approved"].reversed == 1


def test_settlement_days_and_new_year() -> None:
    rows = [
        row for n, day in enumerate(("1230", "1231", "0101", "0102")) for row in
        life(n, ("sent", {}), ("answered", {"response_code": "00", "settlement_date": day}))
    ]  # fmt: skip
    assert of(rows, first="1231").total.count == 1
    assert of(rows, last="0101").total.count == 1
    assert of(rows, first="1231", last="0101").total.count == 2
    assert of(rows, first="0101", last="0102").total.count == 2


def test_a_row_without_a_line_knows_its_day_and_hour() -> None:
    for text in ("2026-01-01 00:00", "2028-02-29 23:59", "2030-12-31 07:30", "2100-03-01 00:00"):
        moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone(datetime.timedelta(hours=8)))
        entry = BLANK._replace(net_time="", at_ms=int(moment.timestamp() * 1000))
        assert day_of(entry) == moment.strftime("%m%d")
        assert DIMENSIONS["hour"](entry, Place()) == moment.strftime("%H")


def test_latency_is_the_nearest_rank() -> None:
    figures = Figures()
    assert figures.latency(0.5) is None
    assert figures.business_success is figures.system_success is None
    figures.latencies.update(range(1, 101))
    assert [figures.latency(share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]


def test_classes_are_those_of_the_code_table() -> None:
    faulty = {code for code in RESPONSE_CODES if response_class(code) == "system"}
    assert faulty == {"68", "91", "96", "98"}
    assert response_class("??") == "issuer"


def test_rows_are_not_kept() -> None:
    """Thirty thousand transactions, two rows each: memory does not grow with them."""

    def many(count: int) -> Iterator[Entry]:
        for n in range(count):
            yield BLANK._replace(rrn=f"301{n:09d}")
            yield BLANK._replace(rrn=f"301{n:09d}", state="answered", at_ms=NOON_MS + n % 50, response_code="00")

    tally = Tally(["transaction", "hour"])
    tracemalloc.start()
    try:
        tally.read(many(30_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tally.total.count == 30_000
    assert peak < 1_000_000


# the command


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return write(tmp_path / "switch.db", paid(1) + paid(2, 20, "51") + silent(3) + paid(4, on_us=1, link="core"))


def write(path: Path, rows: list[Entry]) -> Path:
    disk = Disk(path, SWITCH_TABLES)
    for number, entry in enumerate(rows, 1):
        values = entry._asdict() | {"number": number, "pan_sealed": b""}
        row = tuple(values.get(name, b"" if kind == "BLOB" else "") for name, kind in JOURNAL.columns)
        disk.add(number, JOURNAL.name, row)
    disk.commit()
    disk.close()
    return path


def test_the_table(journal: Path) -> None:
    shown = RUNNER.invoke(app, ["stats", str(journal)], env={"COLUMNS": "160"}, catch_exceptions=False)
    assert shown.exit_code == 0
    assert "sale 消费" in shown.stdout
    assert "50.00%" in shown.stdout  # two of four approved
    assert "75.00%" in shown.stdout  # one silence
    by_entry = RUNNER.invoke(app, ["stats", str(journal), "--by", "entry_mode,response_code"], env={"COLUMNS": "200"})
    assert "021 magnetic stripe" in by_entry.stdout
    assert "51 insufficient funds" in by_entry.stdout
    assert "total 合计" in by_entry.stdout
    narrow = RUNNER.invoke(app, ["stats", str(journal), "--by", "day,link,hour"], env={"COLUMNS": "80"})
    assert "…" not in narrow.stdout
    assert "not shown for want of width" in narrow.stdout


def test_csv_and_json_say_the_same(journal: Path, tmp_path: Path) -> None:
    arguments = ["stats", str(journal), "--by", "link,response-class", "--from", "10-28", "--to", "1028"]
    file = tmp_path / "out.json"
    result = RUNNER.invoke(app, [*arguments, "--csv", "-", "--json", str(file)], catch_exceptions=False)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    data = json.loads(file.read_text())
    assert data["by"] == ["link", "response-class"]
    assert [(row["link"], row["response-class"], row["count"]) for row in rows] == [
        ("core", "approved", "1"), ("cups", "approved", "1"), ("cups", "holder", "1"), ("cups", "silence", "1"),
    ]  # fmt: skip
    assert [{k: "" if v is None else str(v) for k, v in group.items()} for group in data["groups"]] == rows
    assert data["total"]["count"] == 4
    assert data["total"]["business_success_rate"] == 0.5
    assert (data["total"]["latency_p50_ms"], data["total"]["latency_p99_ms"]) == (8, 20)


def test_many_journals_and_the_terminals_file(journal: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.db", paid(1, tid="10000002"))
    terminals = tmp_path / "terminals.csv"
    terminals.write_text(
        "tid,mid,district,topology,type\n10000001,m,湖滨区,间联,POS\n10000002,m,,direct,crs\n", encoding="utf-8"
    )
    arguments = [
        "stats",
        str(journal),
        str(other),
        "--terminals",
        str(terminals),
        "--by",
        "district,topology,terminal-type",
    ]
    result = RUNNER.invoke(app, [*arguments, "--json", "-"], catch_exceptions=False)
    groups = json.loads(result.stdout)["groups"]
    assert [(g["district"], g["topology"], g["terminal-type"], g["count"]) for g in groups] == [
        ("-", "direct", "atm", 1), ("湖滨区", "indirect", "pos", 4),
    ]  # fmt: skip


def test_columns_of_the_terminals_file_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("tid,mid\n10000001,m\n")
    assert read_places(path) == {"10000001": Place("-", "-", "-")}


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["absent.db"], "", "absent.db: no such file"),
        (["bad"], "", "bad: not a journal book"),
        (["switch.db", "--by", "colour"], "", "figures can be grouped by transaction"),
        (["switch.db", "--by", "link,link"], "", "named twice"),
        (["switch.db", "--from", "1332"], "", "a settlement day is MMDD"),
        (["switch.db", "--to", "0230"], "", "a settlement day is MMDD"),
        (["switch.db", "--csv", "-", "--json", "-"], "", "only one of them"),
        (["switch.db", "--csv", "no/such/place"], "", "No such file"),
        (["switch.db", "--terminals", "bad"], "mid\n1\n", "line 1: column tid is missing"),
        (["switch.db", "--terminals", "bad"], "tid\nA\nA\n", "line 3: terminal A stands here twice"),
        (["switch.db", "--terminals", "bad"], "tid,topology\nA,sideways\n", "line 2: topology 'sideways' is none of"),
        (["switch.db", "--terminals", "none.csv"], "", "none.csv: No such file"),
    ],
)
def test_errors_are_one_line(
    journal: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str, said: str
) -> None:
    monkeypatch.chdir(journal.parent)
    (journal.parent / "bad").write_text(text or "no database\n" * 100)
    with pytest.raises(ConfigError) as caught:
        RUNNER.invoke(app, ["stats", *arguments], catch_exceptions=False)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
