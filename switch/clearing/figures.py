"""The numbers people report, from journal rows: counts, amounts, success rates and latency by any mix of dimensions.

A transaction is counted once, at its first end: answered, refused here, accepted for the other side, or given up. What
becomes of it later (reversed, answered too late, to be settled by hand) is counted beside it, never instead of it.
Rows are read in the order of their numbers and none is kept: only the send times of what is still open.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from switch.clearing.dates import BEIJING_S, civil, day_number, within
from switch.clearing.tariff import NOTHING, Fee
from switch.wire.codes import RESPONSE_CODES, UNKNOWN_RESPONSE
from switch.wire.transactions import APPROVED, BY_NAME

NONE: Final = "-"
"""A dimension's value where it is not known or does not apply."""

APPROVED_CLASS, SILENCE, SYSTEM = "approved", "silence", "system"


class Entry(NamedTuple):
    """The columns of a journal row that figures are made of (see `switch.clearing.schema.JOURNAL`)."""

    at_ms: int
    state: str
    kind: str
    tid: str
    link: str
    net_time: str
    acquirer: str
    rrn: str
    amount: int
    entry_mode: str
    mcc: str
    on_us: int
    response_code: str
    settlement_date: str
    reason: str
    card: str = ""


class Place(NamedTuple):
    """What the terminals' file says of a terminal; "-" where it has no such column.

    `type` is "pos" or "atm"; `topology` is "direct" (直联, a terminal of the network's own host) or "indirect" (间联).
    """

    type: str = NONE
    district: str = NONE
    topology: str = NONE


_NOWHERE: Final = Place()
_ATM_KINDS: Final = frozenset(("atm", "withdrawal", "deposit"))
"""How the names of transactions begin that only a cash machine makes."""


def response_class(code: str) -> str:
    """Whose fault an answer is: approved, or holder, terminal, issuer, system.

    >>> response_class("51"), response_class("96"), response_class("00")
    ('holder', 'system', 'approved')
    """
    fault = RESPONSE_CODES.get(code, UNKNOWN_RESPONSE).fault
    return APPROVED_CLASS if fault == "none" else fault


@dataclass(slots=True)
class Figures:
    """The figures of one group. Amounts in minor units, latencies in milliseconds as {latency: how many}.

    `silent` are requests given up without an answer; `system_faults` are those and the answers that name the system;
    `net_minor` is what the merchants are owed by what stands approved (refunds and voids against it), before fees;
    `fee` is what it costs, None without a tariff.
    """

    count: int = 0
    approved: int = 0
    silent: int = 0
    system_faults: int = 0
    reversed: int = 0
    late: int = 0
    suspicious: int = 0
    amount_minor: int = 0
    reversed_minor: int = 0
    net_minor: int = 0
    fee: Fee | None = None
    latencies: Counter[int] = field(default_factory=Counter)

    @property
    def declined(self) -> int:
        return self.count - self.approved - self.silent

    @property
    def business_success(self) -> float | None:
        """交易成功率: approved of all; None where nothing was counted."""
        return self.approved / self.count if self.count else None

    @property
    def system_success(self) -> float | None:
        """系统成功率: all but the system's faults (06, 68, 90, 91, 92, 96, 98, A7 and silence)."""
        return (self.count - self.system_faults) / self.count if self.count else None

    def latency(self, share: float) -> int | None:
        """The latency in ms that `share` of the answered requests did not exceed (nearest rank)."""
        rank = share * self.latencies.total()
        seen = 0
        for ms in sorted(self.latencies):
            seen += self.latencies[ms]
            if seen >= rank:
                return ms
        return None

    def __iadd__(self, other: "Figures") -> "Figures":
        for one in fields(self):
            if one.name == "latencies":
                self.latencies.update(other.latencies)
            elif one.name == "fee":
                if other.fee is not None:
                    self.charge(other.fee)
            else:
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self

    def charge(self, fee: Fee) -> None:
        """Add what a transaction costs."""
        self.fee = (self.fee or NOTHING).plus(fee)

    def as_dict(self) -> dict[str, Any]:
        """For machines; rates are shares of 1 with six digits, None where there is nothing to divide."""
        return {
            "count": self.count,
            "approved": self.approved,
            "declined": self.declined,
            "silent": self.silent,
            "system_faults": self.system_faults,
            "business_success_rate": _rounded(self.business_success),
            "system_success_rate": _rounded(self.system_success),
            "amount_minor": self.amount_minor,
            "reversed": self.reversed,
            "reversed_minor": self.reversed_minor,
            "net_minor": self.net_minor,
            **{f"fee_{party}_minor": getattr(self.fee, party, None) for party in Fee._fields},
            "late": self.late,
            "suspicious": self.suspicious,
            "latency_p50_ms": self.latency(0.5),
            "latency_p99_ms": self.latency(0.99),
        }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def _local(entry: Entry) -> str:
    """MMDDhh in Beijing time: the link's own time of the request, else the row's."""
    if entry.net_time:
        return entry.net_time[:6]
    seconds = entry.at_ms // 1000 + BEIJING_S
    _, month, day = civil(day_number(entry.at_ms))
    return f"{month:02d}{day:02d}{seconds % 86_400 // 3600:02d}"


def day_of(entry: Entry) -> str:
    """The settlement day (MMDD) the other side named; the calendar day where it named none."""
    return entry.settlement_date or _local(entry)[:4]


def _silent(entry: Entry) -> bool:
    """Whether this end is one the switch made up because no usable answer came."""
    return entry.state == "reversal_queued" or (entry.state == "answered" and entry.reason != "")


def _class_of(entry: Entry) -> str:
    return SILENCE if _silent(entry) else response_class(entry.response_code)


def _on_us(entry: Entry) -> str:
    if not entry.link:
        return NONE
    return "on-us" if entry.on_us else "off-us"


def _type(entry: Entry, place: Place) -> str:
    if place.type != NONE:
        return place.type
    return "atm" if entry.kind.partition("_")[0] in _ATM_KINDS else "pos"


Dimension = Callable[[Entry, Place], str]

DIMENSIONS: Final[Mapping[str, Dimension]] = {
    "transaction": lambda entry, place: entry.kind,
    "entry-mode": lambda entry, place: entry.entry_mode or NONE,
    "terminal-type": _type,
    "district": lambda entry, place: place.district,
    "response-class": lambda entry, place: _class_of(entry),
    "response-code": lambda entry, place: SILENCE if _silent(entry) else entry.response_code or NONE,
    "link": lambda entry, place: entry.link or NONE,
    "hour": lambda entry, place: _local(entry)[4:],
    "day": lambda entry, place: day_of(entry),
    "on-us": lambda entry, place: _on_us(entry),
    "topology": lambda entry, place: place.topology,
    "mcc": lambda entry, place: entry.mcc or NONE,
    "card": lambda entry, place: entry.card or NONE,
    "acquirer": lambda entry, place: entry.acquirer or NONE,
}
"""What figures can be grouped by."""

_ENDS: Final = frozenset(("answered", "refused", "stored"))
_LATER: Final = frozenset(("reversal_queued", "late", "suspicious"))


class Tally:
    """Figures by the dimensions `by`, from one journal or many.

    `places` are the terminals by number. `first` and `last` (MMDD, both inclusive, "" open) limit the settlement days;
    a `first` after `last` means a span over New Year. Raises KeyError for a dimension that does not exist.
    """

    def __init__(
        self,
        by: Sequence[str] = (),
        places: Mapping[str, Place] | None = None,
        first: str = "",
        last: str = "",
    ) -> None:
        self.by = tuple(by)
        self.groups: dict[tuple[str, ...], Figures] = {}
        self.unfinished = 0
        self._read = [DIMENSIONS[name] for name in self.by]
        self._places = places or {}
        self._fees: Mapping[str, Fee] | None = None
        self._first = first
        self._last = last

    def read(self, entries: Iterable[Entry], fees: Mapping[str, Fee] | None = None) -> None:
        """Count one journal, in the order of its rows; `fees` are what its transactions cost, by RRN."""
        self._fees = fees
        sent: dict[str, int] = {}
        given_up: set[str] = set()
        for entry in entries:
            state, rrn = entry.state, entry.rrn
            if state == "sent":
                sent[rrn] = entry.at_ms
            elif state in _ENDS or (state == "reversal_queued" and rrn in sent):
                if _silent(entry):
                    given_up.add(rrn)
                began = sent.pop(rrn, None)
                if self._wanted(entry):
                    self._end(entry, began)
            elif state in _LATER:
                # where it was counted, whatever has been learnt of it since
                if rrn in given_up:
                    counted = entry._replace(state="reversal_queued", settlement_date="")
                else:
                    counted = entry._replace(state="answered", reason="")
                if self._wanted(counted):
                    self._afterwards(state, counted)
        self.unfinished += len(sent)

    @property
    def total(self) -> Figures:
        """All groups together."""
        whole = Figures()
        for group in self.groups.values():
            whole += group
        return whole

    def _wanted(self, entry: Entry) -> bool:
        if not self._first and not self._last:
            return True
        return within(day_of(entry), self._first, self._last)

    def _group(self, entry: Entry) -> Figures:
        place = self._places.get(entry.tid, _NOWHERE)
        key = tuple([read(entry, place) for read in self._read])
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Figures()
        return group

    def _end(self, entry: Entry, began: int | None) -> None:
        group = self._group(entry)
        group.count += 1
        if _silent(entry):
            group.silent += 1
            group.system_faults += 1
            return
        code = entry.response_code
        if code in APPROVED:
            group.approved += 1
            group.amount_minor += entry.amount
            group.net_minor += _sign(entry) * entry.amount
            if self._fees is not None:
                group.charge(self._fees.get(entry.rrn, NOTHING))
        elif response_class(code) == SYSTEM:
            group.system_faults += 1
        if entry.state == "answered" and began is not None:
            group.latencies[max(0, entry.at_ms - began)] += 1

    def _afterwards(self, state: str, entry: Entry) -> None:
        """Something that befell a transaction already counted."""
        group = self._group(entry)
        if state == "reversal_queued":
            group.reversed += 1
            group.reversed_minor += entry.amount
            group.net_minor -= _sign(entry) * entry.amount
        elif state == "late":
            group.late += 1
        else:
            group.suspicious += 1


def _sign(entry: Entry) -> int:
    row = BY_NAME.get(entry.kind)
    return row.sign if row else 0
