"""The metrics by name: which number of which room each of them is. docs/metrics.md lists them; a test compares.

No label ever holds a card, terminal or merchant; their values are few and known: lines, kinds, classes, reasons.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from switch.clearing.figures import response_class
from switch.engine.counterpart import Counterpart
from switch.engine.engine import Engine
from switch.issuer.centre import Centre
from switch.machine import Now
from switch.net.metrics import Family, LoopLag, Sample
from switch.net.perform import Performer
from switch.timings import Timings
from switch.wire.codes import RESPONSE_CODES

CUT: Final = ("frame", "sign_in", "idle", "pressure", "replaced", "gone")
"""Why this side ends a connection."""

TERMINALS: Final = "terminals"
"""The peer that all terminals are, beside the counterparts by name."""


def _one(read: Callable[[], float]) -> Callable[[], Iterable[Sample]]:
    return lambda: [((), read())]


def _each(label_values: Iterable[tuple[str, Callable[[], float]]]) -> Callable[[], Iterable[Sample]]:
    pairs = list(label_values)
    return lambda: [((value,), read()) for value, read in pairs]


def _code(code: str) -> str:
    """A response code as a label: whatever a peer invents is one series."""
    return code if code in RESPONSE_CODES else "other"


def _summed(pairs: Iterable[tuple[tuple[str, ...], int]]) -> list[Sample]:
    sums: dict[tuple[str, ...], float] = {}
    for key, number in pairs:
        sums[key] = sums.get(key, 0) + number
    return sorted(sums.items())


def process_families(performer: Performer, lag: LoopLag, process: str) -> list[Family]:
    """What every process has: build, connections, its durable book, its loop."""
    disk = performer.disk
    build = (version("shoudan"), platform.python_version(), process)
    return [
        Family(
            "shoudan_build_info", "gauge", "Version of this process; the value is always 1.",
            ("version", "python", "process"), lambda: [(build, 1)],
        ),
        Family("shoudan_connections", "gauge", "Open connections.", (), _one(lambda: performer.connections)),
        Family(
            "shoudan_connections_opened_total", "counter", "Connections accepted or made since the start.", (),
            _one(lambda: performer.connections_opened),
        ),
        Family(
            "shoudan_connections_refused_total", "counter", "Connections refused for want of descriptors.", (),
            _one(lambda: performer.connections_refused),
        ),
        Family(
            "shoudan_connections_max", "gauge", "Connections that the descriptor limit allows; more are refused.", (),
            _one(lambda: performer.connections_max),
        ),
        Family(
            "shoudan_connections_cut_total", "counter",
            "Connections ended by this side, by why: frame or sign-in too late, idle, not reading, replaced, gone.",
            ("reason",), _each((reason, partial(performer.cut.__getitem__, reason)) for reason in CUT),
        ),
        Family(
            "shoudan_reads_held_total", "counter", "Times a peer that said too much at once was not read from.", (),
            _one(lambda: performer.held),
        ),
        Family(
            "shoudan_journal_rows_total", "counter", "Rows made durable since the start.", (), _one(lambda: disk.rows)
        ),
        Family(
            "shoudan_journal_pending_rows", "gauge", "Rows that wait for a commit.", (), _one(lambda: disk.pending)
        ),
        Family(
            "shoudan_journal_commit_duration_seconds", "histogram", "Time of one commit, fsync included.", (),
            lambda: [((), disk.commit_times)],
        ),
        Family(
            "shoudan_journal_commit_rows", "histogram", "Rows in one commit.", (), lambda: [((), disk.batches)]
        ),
        Family(
            "shoudan_loop_lag_seconds", "histogram", "How late the loop was with a timer, ten times a second.", (),
            lambda: [((), lag.timings)],
        ),
    ]  # fmt: skip


class WorkerState(NamedTuple):
    """A worker as its parent sees it; `pid` is 0 while there is no process."""

    place: int
    ready: bool
    restarts: int
    pid: int


def worker_families(workers: Sequence[WorkerState]) -> list[Family]:
    """What the parent of several workers knows of them; everything else the workers say themselves."""

    def each(read: Callable[[WorkerState], float]) -> Callable[[], Iterable[Sample]]:
        return lambda: [((str(one.place + 1),), read(one)) for one in workers]

    return [
        Family("shoudan_process_ready", "gauge", "1 while a worker takes its merchants' connections.", ("worker",),
               each(lambda one: one.ready)),
        Family("shoudan_process_restarts_total", "counter", "Times a worker was started again.", ("worker",),
               each(lambda one: one.restarts)),
        Family("shoudan_process_cpu_seconds_total", "counter", "CPU, user and system, of a worker's process.",
               ("worker",), each(lambda one: _used(one.pid)[0])),
        Family("shoudan_process_resident_bytes", "gauge", "Resident memory of a worker's process.", ("worker",),
               each(lambda one: _used(one.pid)[1])),
    ]  # fmt: skip


def _used(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of a process; nothing of one that is gone."""
    try:
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0, 0
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def switch_families(engine: Engine, performer: Performer, lag: LoopLag) -> list[Family]:
    """All metrics of `shoudan serve`."""
    return [
        *process_families(performer, lag, "switch"),
        *_traffic(engine),
        *_doubt(engine, performer.now),
        *_stored(engine),
        *_lines(engine),
        *_offences(engine),
        *_hsm(engine, performer.now),
        Family(
            "shoudan_invariant_violations_total", "counter", "Things that can never happen. Must be 0.", ("id",),
            lambda: _violations(engine, performer),
        ),
    ]  # fmt: skip


def _violations(engine: Engine, performer: Performer) -> Iterator[Sample]:
    for name, number in engine.office.statistics.violations.items():
        yield (name,), number
    yield ("row_number_gap",), performer.disk.gaps


def _traffic(engine: Engine) -> list[Family]:
    office = engine.office
    numbers, lines = office.statistics, list(office.counterparts.values())

    def messages() -> Iterator[Sample]:
        yield (TERMINALS, "in"), numbers.messages - sum(line.received for line in lines)
        yield (TERMINALS, "out"), numbers.replies
        for line in lines:
            yield (line.name, "in"), line.received
            yield (line.name, "out"), line.sent

    def authorizations() -> Iterable[Sample]:
        outcomes = numbers.by_outcome.items()
        return _summed(((kind, response_class(code), on_us), count) for (kind, code, on_us), count in outcomes)

    return [
        Family(
            "shoudan_messages_total", "counter", "Messages by peer and direction; in includes what does not decode.",
            ("peer", "direction"), messages,
        ),
        Family(
            "shoudan_authorizations_total", "counter",
            "Financial requests answered, by transaction, whose fault a refusal is (silence is the system's), on-us.",
            ("transaction", "response_class", "on_us"), authorizations,
        ),
        Family(
            "shoudan_responses_total", "counter", "The same by response code; codes of no table are other.",
            ("response_code",),
            lambda: _summed(((_code(code),), count) for code, count in numbers.by_response.items()),
        ),
        Family(
            "shoudan_authorization_duration_seconds", "histogram",
            "From a request to its answer, as the switch sees it; requests given up are not in it.",
            ("peer",), lambda: [((line.name,), line.timings) for line in lines],
        ),
        Family(
            "shoudan_sign_ins_total", "counter", "Terminals that signed in.", (), _one(lambda: numbers.sign_ins)
        ),
        Family(
            "shoudan_downloads_total", "counter", "Chip parameter downloads that terminals ended.", (),
            _one(lambda: numbers.downloads),
        ),
        Family(
            "shoudan_settlements_total", "counter", "Batches settled, by how terminal and host compared.", ("result",),
            _each([
                ("balanced", lambda: numbers.settlements - numbers.settlements_unbalanced),
                ("unbalanced", lambda: numbers.settlements_unbalanced),
            ]),
        ),
        Family(
            "shoudan_terminals", "gauge", "Terminals registered.", (), _one(lambda: len(office.books.terminals))
        ),
        Family("shoudan_cut_overs_total", "counter", "Changes of day ended.", (), _one(lambda: numbers.cut_overs)),
    ]  # fmt: skip


def _doubt(engine: Engine, now: Callable[[], Now]) -> list[Family]:
    numbers, lines = engine.office.statistics, list(engine.office.counterparts.values())

    def saf(part: int) -> Callable[[], Iterable[Sample]]:
        def read() -> Iterable[Sample]:
            stored = engine.stored(now())
            return [((line.name,), stored.get(line.name, (0, 0.0))[part]) for line in lines]

        return read

    return [
        Family(
            "shoudan_timeouts_total", "counter", "Requests given up because no answer came in time.", ("peer",),
            lambda: [((line.name,), line.timeouts) for line in lines],
        ),
        Family(
            "shoudan_late_responses_total", "counter", "Answers after the switch had given up, by what they said.",
            ("result",),
            _each([
                ("approved", lambda: numbers.late_approvals),
                ("declined", lambda: numbers.late - numbers.late_approvals),
            ]),
        ),
        Family(
            "shoudan_reversals_total", "counter", "Reversals begun, by why.", ("reason",),
            lambda: [((reason,), count) for reason, count in numbers.reversals.items()],
        ),
        Family(
            "shoudan_reversals_sent_total", "counter", "Reversals sent, repeats included.", (),
            _one(lambda: numbers.reversals_sent),
        ),
        Family(
            "shoudan_reversals_acknowledged_total", "counter", "Reversals the other side took.", (),
            _one(lambda: numbers.reversals_acked),
        ),
        Family(
            "shoudan_suspicious_total", "counter", "Transactions to be settled by hand.", (),
            _one(lambda: numbers.suspicious),
        ),
        Family(
            "shoudan_advices_total", "counter", "Advices accepted for the other side, and delivered to it.", ("state",),
            _each([("stored", lambda: numbers.advices_stored), ("delivered", lambda: numbers.advices_delivered)]),
        ),
        Family("shoudan_saf_depth", "gauge", "Reversals and advices the other side has not taken.", ("peer",), saf(0)),
        Family(
            "shoudan_saf_oldest_seconds", "gauge", "Age of the oldest of them, since the start at most.", ("peer",),
            saf(1),
        ),
    ]  # fmt: skip


def _stored(engine: Engine) -> list[Family]:
    numbers = engine.office.statistics
    return [
        Family(
            "shoudan_stand_in_total", "counter", "Sales the switch itself approved for the bank's own core.", (),
            _one(lambda: numbers.stood_in),
        ),
        Family(
            "shoudan_saf_repeated_often_total", "counter",
            "Stored messages that were sent so often without being taken that somebody should look.", (),
            _one(lambda: numbers.repeated_often),
        ),
        Family(
            "shoudan_saf_expired_total", "counter",
            "Stored messages given up after their time; they are to be settled by hand.", (),
            _one(lambda: numbers.expired),
        ),
    ]  # fmt: skip


def _lines(engine: Engine) -> list[Family]:
    lines = list(engine.office.counterparts.values())

    def of(read: Callable[[Counterpart], float]) -> Callable[[], Iterable[Sample]]:
        return lambda: [((line.name,), read(line)) for line in lines]

    return [
        Family("shoudan_inflight", "gauge", "Requests that wait for an answer.", ("peer",),
               of(lambda line: len(line.inflight))),
        Family("shoudan_link_ready", "gauge", "1 while a line is signed on and has its keys.", ("peer",),
               of(lambda line: line.ready)),
        Family("shoudan_lines_ready", "gauge", "Lines of a counterpart that requests may be given to.", ("peer",),
               of(lambda line: sum(one.healthy for one in line.lines))),
        Family("shoudan_line_failovers_total", "counter", "Changes from one line of a counterpart to another.",
               ("peer",), of(lambda line: line.failovers)),
        Family("shoudan_line_breaks_total", "counter",
               "Lines given nothing more because too many requests in a row had no answer.", ("peer",),
               of(lambda line: line.breaks)),
        Family("shoudan_link_cutting_over", "gauge", "1 while the other side changes its day.", ("peer",),
               of(lambda line: line.cutting_over)),
        Family("shoudan_key_resets_total", "counter", "Working keys taken from the other side.", (),
               _one(lambda: engine.office.statistics.key_resets)),
    ]  # fmt: skip


def _offences(engine: Engine) -> list[Family]:
    numbers, lines = engine.office.statistics, list(engine.office.counterparts.values())

    def macs() -> Iterator[Sample]:
        yield (TERMINALS,), numbers.mac_failures - sum(line.mac_failures for line in lines)
        for line in lines:
            yield (line.name,), line.mac_failures

    return [
        Family(
            "shoudan_decode_errors_total", "counter",
            "Bytes that are no frames, terminals' frames that are no messages, and counterparts' of either kind.",
            ("reason",),
            _each([
                ("frame", lambda: numbers.bad_frames),
                ("message", lambda: numbers.bad_messages),
                ("counterpart", lambda: numbers.link_errors),
            ]),
        ),
        Family("shoudan_mac_failures_total", "counter", "Messages whose MAC is not right.", ("peer",), macs),
        Family(
            "shoudan_unmatched_total", "counter", "Messages of counterparts that belong to nothing.", (),
            _one(lambda: numbers.unmatched),
        ),
        Family(
            "shoudan_rejected_total", "counter", "Our own messages returned by a counterpart.", (),
            _one(lambda: numbers.rejected),
        ),
        Family(
            "shoudan_requests_turned_away_total", "counter",
            "Terminals' requests refused before they were transactions: unknown, unsigned, incomplete, repeated.", (),
            _one(lambda: numbers.refused),
        ),
        Family(
            "shoudan_requests_overload_total", "counter",
            "New requests refused because too much was waiting already, or all was late.", (),
            _one(lambda: numbers.overloaded),
        ),
        Family(
            "shoudan_requests_overload_late_total", "counter",
            "Of these, because the process or its disk was behind.", (), _one(lambda: numbers.overloaded_late),
        ),
        Family(
            "shoudan_transactions_kept", "gauge", "Transactions in memory: of open batches, owed or touched since.",
            (), _one(lambda: len(engine.office.books.exchanges)),
        ),
        Family(
            "shoudan_duplicates_total", "counter", "Requests under a key already used.", (),
            _one(lambda: numbers.duplicates),
        ),
        Family(
            "shoudan_answers_undelivered_total", "counter", "Answers whose connection was gone.", (),
            _one(lambda: numbers.undelivered),
        ),
    ]  # fmt: skip


def _hsm(engine: Engine, now: Callable[[], Now]) -> list[Family]:
    """The model of an HSM (`hsm_ops`); all 0 without one."""
    queue, none = engine.hsm_queue, Timings()
    return [
        Family("shoudan_hsm_rate", "gauge", "Operations a second that the modelled HSM does; 0: there is no model.", (),
               _one(lambda: queue.rate if queue else 0)),
        Family("shoudan_hsm_operations_total", "counter", "Operations the modelled HSM was asked for.", (),
               _one(lambda: queue.operations if queue else 0)),
        Family("shoudan_hsm_queue", "gauge", "Operations that wait for the modelled HSM, or are done by it now.", (),
               _one(lambda: queue.waiting(now()) if queue else 0)),
        Family("shoudan_hsm_wait_seconds", "histogram",
               "How long a message waited before the modelled HSM began with it.", (),
               lambda: [((), queue.waits if queue else none)]),
    ]  # fmt: skip


def centre_families(centre: Centre, performer: Performer, lag: LoopLag) -> list[Family]:
    """All metrics of `shoudan centre`."""

    def counted(prefix: str) -> Callable[[], Iterable[Sample]]:
        def read() -> Iterable[Sample]:
            mine = {name.removeprefix(prefix): n for name, n in centre.statistics().items() if name.startswith(prefix)}
            return _summed(((_code(name) if prefix == "answered_" else name,), n) for name, n in mine.items())

        return read

    def events() -> Iterable[Sample]:
        numbers: dict[str, Any] = centre.statistics()
        plain = {name: n for name, n in numbers.items() if not name.startswith(("answered_", "rule_"))}
        return [((name,), n) for name, n in sorted(plain.items()) if name not in ("posts", "delayed", "lines")]

    return [
        *process_families(performer, lag, "centre"),
        Family("shoudan_centre_answers_total", "counter", "Financial answers given, by response code.",
               ("response_code",), counted("answered_")),
        Family("shoudan_centre_rules_total", "counter", "How often an operator rule struck, by its action.",
               ("action",), counted("rule_")),
        Family("shoudan_centre_events_total", "counter", "Everything else the other side counts.", ("event",), events),
        Family("shoudan_centre_lines", "gauge", "Lines of members.", (), _one(lambda: centre.statistics()["lines"])),
        Family("shoudan_centre_delayed", "gauge", "Answers held back by a rule.", (),
               _one(lambda: centre.statistics()["delayed"])),
        Family("shoudan_invariant_violations_total", "counter", "Things that can never happen. Must be 0.", ("id",),
               lambda: [(("row_number_gap",), performer.disk.gaps)]),
    ]  # fmt: skip
