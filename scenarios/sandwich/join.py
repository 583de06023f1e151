"""Both sides joined: which request on a line stems from which request of a terminal.

By the RRN where the terminal was told one; else by terminal, class, card (its keyed digest), time window and amount.
Where more than one would fit nothing is chosen: the requests are listed as ambiguous.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from scenarios.sandwich.recorder import REVERSALS, Recorder
from scenarios.sandwich.seen import Asked, Received
from switch.wire.errors import DecodeError
from switch.wire.private_network import read_90
from switch.wire.transactions import BY_KEY, FINANCIAL_MTIS, Transaction

BY_RRN, BY_TERMINAL = "RRN", "terminal, card and time"
SLACK_S: Final = 0.5
"""How far the clocks of both recordings may differ."""


@dataclass(slots=True, repr=False)
class Pair:
    """One transaction: the terminal's request (all its tries, if it is an advice), what came out on a line for it
    (None where nothing did), how the two were joined, and what took it back.

    `wrong` collects the fields in which the request on the line already broke a rule, so that what follows from one
    fault is not told as another.
    """

    row: Transaction
    tries: list[Asked]
    received: Received | None = None
    by: str = ""
    original: "Pair | None" = None
    reversals: list[Received] = field(default_factory=list)
    taken_back: list[Asked] = field(default_factory=list)
    wrong: set[int] = field(default_factory=set)

    @property
    def asked(self) -> Asked:
        """The first try."""
        return self.tries[0]

    @property
    def told(self) -> Asked:
        """The try that was answered, the last one where none was."""
        return next((asked for asked in self.tries if asked.answer is not None), self.tries[-1])

    @property
    def rrn(self) -> str:
        """The RRN the terminal was told."""
        answer = self.told.answer
        return str(answer.fields.get(37, "")).strip() if answer is not None else ""

    def __repr__(self) -> str:
        return f"Pair({self.row.name} of {self.asked.where}{', joined by ' + self.by if self.by else ''})"


@dataclass(slots=True)
class Joined:
    """Everything that was seen, put together.

    `orphans` are requests on a line that belong to no terminal's request, `ambiguous` those for which more than one
    fits, `unnamed` reversals whose DE90 names nothing that was sent (they are with their pair if the RRN finds it).
    """

    pairs: list[Pair] = field(default_factory=list)
    reversals: list[tuple[Received, Pair | None]] = field(default_factory=list)
    orphans: list[Received] = field(default_factory=list)
    ambiguous: list[Received] = field(default_factory=list)
    unnamed: list[Received] = field(default_factory=list)
    rrns: Counter[tuple[str, str]] = field(default_factory=Counter)

    def how(self) -> Counter[str]:
        """How many pairs were joined in which way; "" counts those that never came out of the switch."""
        return Counter(pair.by for pair in self.pairs)


def join(recorder: Recorder) -> Joined:
    """Join a recording."""
    joined = Joined(pairs=_pairs(recorder.asked))
    requests = [r for r in recorder.received.values() if r.request.mti in FINANCIAL_MTIS]
    left = _by_rrn(joined.pairs, requests)
    left = _by_terminal(joined, left)
    joined.orphans = left
    for received in requests:
        joined.rrns[received.where, received.request.fields.get(37, "")] += 1
    _name_originals(joined.pairs)
    _reversals(joined, [r for r in recorder.received.values() if r.request.mti in REVERSALS])
    _taken_back(joined.pairs, recorder.asked)
    return joined


def row_of(asked: Asked) -> Transaction | None:
    """The matrix row of a terminal's request."""
    get = asked.request.fields.get
    return BY_KEY.get((asked.request.mti, get(3, ""), get(25, ""), get(60, "")[:2]))


def named(fields: dict[int, Any], tid: str) -> tuple[str, str, str]:
    """Terminal, batch and STAN of a request: what it is called by its terminal."""
    return tid, fields.get(60, "")[2:8], fields.get(11, "")


def _pairs(asked: Iterable[Asked]) -> list[Pair]:
    pairs: dict[tuple[str, str, str], Pair] = {}
    found = []
    for one in asked:
        row = row_of(one)
        if row is None:
            continue
        name = named(one.request.fields, one.where)
        earlier = pairs.get(name)
        if earlier is not None and earlier.row is row and row.mti == "0220":
            earlier.tries.append(one)
            continue
        pairs[name] = pair = Pair(row, [one])
        found.append(pair)
    return found


def _by_rrn(pairs: list[Pair], requests: list[Received]) -> list[Received]:
    """Join what one RRN names on both sides, once on each; the requests that are left."""
    back: dict[str, list[Received]] = defaultdict(list)
    front: dict[str, list[Pair]] = defaultdict(list)
    for received in requests:
        back[received.request.fields.get(37, "").strip()].append(received)
    for pair in pairs:
        front[pair.rrn].append(pair)
    taken: set[int] = set()
    for rrn, told in front.items():
        if not rrn:
            continue
        for pair in told:
            fits = [r for r in back.get(rrn, ()) if id(r) not in taken and _not_before(pair, r)]
            if len(fits) > 1 or len(told) > 1:
                fits = [r for r in fits if _same_card(pair, r)]
            if len(fits) == 1:
                _tie(pair, fits[0], BY_RRN)
                taken.add(id(fits[0]))
    return [received for received in requests if id(received) not in taken]


def _tie(pair: Pair, received: Received, by: str) -> None:
    pair.received, pair.by = received, by


def _not_before(pair: Pair, received: Received) -> bool:
    return received.request.at >= pair.asked.request.at - SLACK_S


def _same_card(pair: Pair, received: Received) -> bool:
    return received.request.card == pair.asked.request.card and received.request.fields.get(
        41
    ) == pair.asked.request.fields.get(41)


def _fits(pair: Pair, received: Received) -> bool:
    """Terminal, card and class agree, and it came while the terminal waited (an advice may come any time later)."""
    if (
        received.request.mti != pair.row.network_mti
        or not _same_card(pair, received)
        or not _not_before(pair, received)
    ):
        return False
    return pair.row.mti == "0220" or received.request.at <= pair.told.until + SLACK_S


def _amount(fields: dict[int, Any]) -> int:
    return int(fields.get(4, "0"))


def _by_terminal(joined: Joined, requests: list[Received]) -> list[Received]:
    """Join what is left where exactly one request fits exactly one; first those of the same amount.

    Returns the requests that fit none; those that fit more than one are listed as ambiguous.
    """
    for exact in (True, False):
        open_: dict[str, list[Pair]] = defaultdict(list)
        for pair in joined.pairs:
            if pair.received is None:
                open_[pair.asked.where].append(pair)
        choices: dict[int, list[Received]] = defaultdict(list)
        wanted: dict[int, list[Pair]] = {}
        for received in requests:
            fits = [
                pair
                for pair in open_.get(str(received.request.fields.get(41, "")), ())
                if _fits(pair, received)
                and (not exact or _amount(pair.asked.request.fields) == _amount(received.request.fields))
            ]
            wanted[id(received)] = fits
            for pair in fits:
                choices[id(pair)].append(received)
        left = []
        for received in requests:
            fits = wanted[id(received)]
            if len(fits) == 1 and len(choices[id(fits[0])]) == 1:
                _tie(fits[0], received, BY_TERMINAL)
            elif exact or not fits:
                left.append(received)
            else:
                joined.ambiguous.append(received)
        requests = left
    return requests


def _name_originals(pairs: list[Pair]) -> None:
    """What a void, refund or completion speaks of, by batch and STAN in its DE61."""
    by_name = {named(pair.asked.request.fields, pair.asked.where): pair for pair in pairs}
    for pair in pairs:
        if pair.row.original:
            de61 = pair.asked.request.fields.get(61, "")
            pair.original = by_name.get((pair.asked.where, de61[:6], de61[6:12]))


def _reversals(joined: Joined, reversals: list[Received]) -> None:
    by_key = {pair.received.key: pair for pair in joined.pairs if pair.received is not None}
    by_rrn = {
        (pair.received.where, pair.received.request.fields.get(37, "")): pair
        for pair in joined.pairs
        if pair.received is not None
    }
    for received in reversals:
        pair = None
        try:
            elements = read_90(received.request.fields.get(90, ""))
            pair = by_key.get((received.where, elements.time, elements.stan))
        except DecodeError:
            pass
        if pair is None:
            joined.unnamed.append(received)
            pair = by_rrn.get((received.where, received.request.fields.get(37, "")))
        if pair is not None:
            pair.reversals.append(received)
        joined.reversals.append((received, pair))


def _taken_back(pairs: list[Pair], asked: Iterable[Asked]) -> None:
    """A terminal's 0400 has the STAN and the batch of what it takes back."""
    by_name = {named(pair.asked.request.fields, pair.asked.where): pair for pair in pairs}
    for one in asked:
        if one.request.mti == "0400":
            pair = by_name.get(named(one.request.fields, one.where))
            if pair is not None:
                pair.taken_back.append(one)
