"""`shoudan stats`: counts, amounts, success rates and latency from journals, by whatever one asks for."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid

from switch.app.clearing import read_rows, yuan
from switch.app.config import ConfigError, tariff_for
from switch.app.journals import journals_of, rows_in
from switch.clearing.books import deals
from switch.clearing.fees import charges
from switch.clearing.figures import DIMENSIONS, NONE, Entry, Figures, Place, Tally
from switch.clearing.schema import JOURNAL
from switch.clearing.tariff import Fee, Tariff
from switch.wire.codes import RESPONSE_CODES, entry_mode
from switch.wire.transactions import BY_NAME

_TOPOLOGIES: Final = {
    "": NONE, NONE: NONE, "direct": "direct", "直联": "direct", "indirect": "indirect", "间联": "indirect",
}  # fmt: skip
_TYPES: Final = {"": NONE, NONE: NONE, "pos": "pos", "atm": "atm", "crs": "atm"}
_TITLES: Final = (
    "count", "approved", "declined", "silent", "business\n交易", "system\n系统", "yuan", "fees\n手续费", "reversed",
    "p50\nms", "p99\nms",
)  # fmt: skip
WIDE: Final = 1000
DAYS_OF_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def read_journal(path: Path) -> Iterator[Entry]:
    """A journal's rows in the order of their numbers, one at a time. Raises ConfigError for what is no journal."""
    columns = itemgetter(*map(JOURNAL.names.index, Entry._fields))
    return (Entry._make(columns(row)) for row in rows_in(path, JOURNAL))


def read_places(path: Path) -> dict[str, Place]:
    """District, type and topology of terminals, from their file's columns `tid`, `district`, `type`, `topology`.

    Only `tid` must be there. Raises ConfigError with the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if "tid" not in (reader.fieldnames or ()):
                raise ConfigError(f"{path}: line 1: column tid is missing")
            places: dict[str, Place] = {}
            for row in reader:
                if row["tid"] in places:
                    raise ConfigError(f"{path}: line {reader.line_num}: terminal {row['tid']} stands here twice")
                places[row["tid"]] = _place(row, f"{path}: line {reader.line_num}")
            return places
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def _place(row: dict[str, Any], where: str) -> Place:
    values = {name: (row.get(name) or "").strip() for name in ("type", "district", "topology")}
    for name, known in (("type", _TYPES), ("topology", _TOPOLOGIES)):
        given = values[name].lower()
        if given not in known:
            raise ConfigError(f"{where}: {name} {given!r} is none of {', '.join(k for k in known if k.isalpha())}")
        values[name] = known[given]
    values["district"] = values["district"] or NONE
    return Place(**values)


def tally(
    journals: Sequence[Path],
    by: Sequence[str] = (),
    terminals: Path | None = None,
    first: str = "",
    last: str = "",
    tariff: Tariff | None = None,
) -> Tally:
    """Figures of journals in their files, with what the transactions cost where there is a tariff. Raises
    ConfigError."""
    result = Tally(by, read_places(terminals) if terminals else None, first, last)
    for path in (file for journal in journals for file in journals_of(journal)):
        result.read(read_journal(path), _fees(path, tariff) if tariff else None)
    return result


def _fees(path: Path, tariff: Tariff) -> dict[str, Fee]:
    """What the transactions of a journal cost, by RRN."""
    return {rrn: charge.fee for rrn, charge in charges(deals(read_rows(path, JOURNAL)), tariff).items()}


def dimensions(text: str) -> list[str]:
    """The names in a comma-separated list; `_` may stand for `-`. Raises ConfigError."""
    names = [name.strip().replace("_", "-") for name in text.split(",") if name.strip()]
    for n, name in enumerate(names):
        if name not in DIMENSIONS:
            raise ConfigError(f"--by {name}: figures can be grouped by {', '.join(DIMENSIONS)}")
        if name in names[:n]:
            raise ConfigError(f"--by {name}: named twice")
    return names


def settlement_day(option: str, text: str) -> str:
    """A settlement day MMDD, also written MM-DD. Raises ConfigError."""
    day = text.replace("-", "")
    right = len(day) == 4 and day.isascii() and day.isdigit() and 1 <= int(day[:2]) <= 12
    if text and not (right and 1 <= int(day[2:]) <= DAYS_OF_MONTH[int(day[:2]) - 1]):
        raise ConfigError(f"{option} {text}: a settlement day is MMDD, as 1028")
    return day


def label(dimension: str, value: str) -> str:
    """A value with its meaning, for people."""
    if dimension == "transaction" and value in BY_NAME:
        return f"{value} {BY_NAME[value].zh}"
    if dimension == "entry-mode" and value != NONE:
        return f"{value} {entry_mode(value).en}"
    if dimension == "response-code" and value in RESPONSE_CODES:
        return f"{value} {RESPONSE_CODES[value].en}"
    return value


def as_dicts(result: Tally) -> list[dict[str, Any]]:
    """One flat dict a group: its dimensions, then its figures."""
    return [
        dict(zip(result.by, key, strict=True)) | figures.as_dict() for key, figures in sorted(result.groups.items())
    ]


def as_whole(result: Tally) -> dict[str, Any]:
    """All groups, and all together."""
    return {
        "by": list(result.by),
        "unfinished": result.unfinished,
        "total": result.total.as_dict(),
        "groups": as_dicts(result),
    }


def as_csv(result: Tally) -> str:
    """The groups as CSV with a heading; empty where there is nothing to divide."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*result.by, *Figures().as_dict()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_dicts(result))
    return text.getvalue()


def show(result: Tally, console: Console) -> None:
    """The groups, and all together; where the screen is narrow, without the columns that can be spared."""
    none = () if result.total.fee is not None else ("fees\n手续费",)
    for spared in ((), ("reversed",), ("reversed", "declined"), ("reversed", "declined", "silent", "p50\nms")):
        grid = _grid(result, (*spared, *none))
        if Measurement.get(console, console.options.update(max_width=WIDE), grid).minimum <= console.width:
            break
    console.print(grid)
    if spared:
        names = ", ".join(name.partition("\n")[0] for name in spared)
        console.print(f"not shown for want of width: {names} (--csv - has all)")
    if result.unfinished:
        console.print(f"{result.unfinished:,} sent and not ended yet are not counted")


def _grid(result: Tally, spared: Sequence[str]) -> Grid:
    kept = [n for n, title in enumerate(_TITLES) if title not in spared]
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_footer=len(result.groups) != 1)
    for n, name in enumerate(result.by):
        grid.add_column(name.replace("-", "-\n"), "" if n else "total 合计", min_width=8, overflow="fold")
    total = _cells(result.total)
    for n in kept:
        grid.add_column(_TITLES[n], total[n], justify="right", no_wrap=True)
    for key, figures in sorted(result.groups.items()):
        cells = _cells(figures)
        values = (label(name, value) for name, value in zip(result.by, key, strict=True))
        grid.add_row(*values, *(cells[n] for n in kept))
    return grid


def _cells(figures: Figures) -> list[str]:
    rates = [NONE if rate is None else f"{rate:.2%}" for rate in (figures.business_success, figures.system_success)]
    counts = [f"{number:,}" for number in (figures.count, figures.approved, figures.declined, figures.silent)]
    latencies = [NONE if ms is None else f"{ms:,}" for ms in (figures.latency(0.5), figures.latency(0.99))]
    fee = yuan(figures.fee.merchant) if figures.fee is not None else NONE
    return [*counts, *rates, yuan(figures.amount_minor), fee, f"{figures.reversed:,}", *latencies]


def stats(
    journals: Annotated[list[Path], typer.Argument(metavar="JOURNAL...", help="Journals of switches (SQLite files).")],
    by: Annotated[
        str, typer.Option(metavar="NAME,...", help=f"Group by any of: {', '.join(DIMENSIONS)}. Empty: all together.")
    ] = "transaction",
    terminals: Annotated[
        Path | None,
        typer.Option(help="Terminals' CSV, for its columns district, type (pos, atm) and topology (direct, indirect)."),
    ] = None,
    first: Annotated[str, typer.Option("--from", metavar="MMDD", help="First settlement day.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="MMDD", help="Last settlement day.")] = "",
    tariff: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A tariff: figures of fees as well (see clearing fees).")
    ] = "",
    csv_to: Annotated[str, typer.Option("--csv", metavar="FILE", help="Write CSV to this file, or - for stdout.")] = "",
    json_to: Annotated[
        str, typer.Option("--json", metavar="FILE", help="Write JSON to this file, or - for stdout.")
    ] = "",
) -> None:
    """Count what journals tell: transactions, amounts, success, latency (交易统计).

    Each transaction counts once, by its first end:
    [bold]approved[/]  the answer approves, or an advice was taken for the other side
    [bold]silent[/]    given up without a usable answer
    [bold]declined[/]  the rest, also refusals by the switch itself
    [bold]reversed[/]  approved first, taken back later; it stays approved

    [bold]business[/]  交易成功率: approved of all
    [bold]system[/]    系统成功率: all but the system's faults, of all: silence and
    06, 68, 90, 91, 92, 96, 98, A7
    [bold]p50, p99[/]  ms from the sent row to the answered row; silence has none
    [bold]yuan[/]      what was approved; CSV and JSON also have what is owed net
    [bold]fees[/]      手续费, with --tariff: what the merchants pay; CSV and JSON also
    have the parts of issuer, network and acquirer

    What is turned away before it is a transaction (a wrong MAC, an unknown
    terminal) is in no journal; the metrics count it.

    [bold]Examples[/]
    shoudan stats switch.db --by hour,link
    shoudan stats a.db b.db --by district --terminals terminals.csv --csv -
    """
    if csv_to == "-" and json_to == "-":
        raise ConfigError("--csv - and --json -: only one of them can go to stdout")
    names = dimensions(by)
    first, last = settlement_day("--from", first), settlement_day("--to", last)
    result = tally(journals, names, terminals, first, last, tariff_for(tariff, Path()) if tariff else None)
    whole = {"journals": [path.name for path in journals], "from": first, "to": last, **as_whole(result)}
    for where, text in ((csv_to, as_csv(result)), (json_to, json.dumps(whole, ensure_ascii=False, indent=1) + "\n")):
        if where == "-":
            typer.echo(text, nl=False)
        elif where:
            _write(Path(where), text)
    if "-" not in (csv_to, json_to):
        show(result, Console())


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def register(app: typer.Typer) -> None:
    """Add `shoudan stats`."""
    app.command("stats")(stats)
