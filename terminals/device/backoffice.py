"""The operator's back office (运营公司后台): takes validators' files, keeps every tap, claims it from the acquirer.

Sans-IO. `receive` takes a file or a question and gives the answer with the rows that must be durable before the answer
leaves; `upload` is the flow of one of the office's own terminals (0200, 60.1 36). Whatever happens between, a row lost
or an answer lost, is asked again and answered alike: a file by its number and digest, a tap by card and counter, an
upload by 94. So nothing is lost and nothing doubled. See docs/transit.md.

Rows hold no card number in clear: the tap is sealed under the HSM's storage key, its card and counter are a keyed hash.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from switch.clearing.schema import Table
from switch.crypto.errors import CryptoError
from switch.crypto.hsm import Hsm
from switch.wire.redact import mask_pan
from terminals.device.dialogue import DUPLICATE, Line
from terminals.device.memory import Chip, Item, Memory
from terminals.device.pos import ready
from terminals.device.taps import (
    FAULT,
    HEAD,
    LIST,
    TAKEN,
    FileFault,
    Lists,
    Tap,
    digest_of,
    read_file,
    read_tap,
    write_page,
    write_tap,
)
from terminals.device.upload import deliver
from terminals.flow import Flow

STORE: Final = "store/taps"
HASH: Final = "hash/taps"
"""Labels of the office's keys in its HSM: one to seal with, one for keyed hashes."""

KIND: Final = "chip_offline_sale"
CONTACTLESS: Final = "072"
"""DE22: a chip without contact, no PIN."""
READS_CHIPS: Final = "6"
PAGE: Final = 200
"""Entries of the lists in one answer."""


def _columns(text: str) -> tuple[tuple[str, str], ...]:
    kinds = {"i": "INTEGER", "t": "TEXT", "b": "BLOB"}
    return tuple((name, kinds[kind]) for name, _, kind in (column.partition(":") for column in text.split()))


TAPS: Final = Table(
    "taps",
    _columns(
        "number:i validator:t file:i tap:i key:t pan_masked:t amount:i at:t line:t zone:t state:t reason:t sealed:b"
    ),
)
"""One row a tap. `state`: paid or listed; `key` is the keyed hash of card and counter."""
FILES: Final = Table("files", _columns("number:i validator:t file:i digest:t taps:i"))
"""A file taken whole: its row stands after those of its taps."""
FATES: Final = Table(
    "fates", _columns("number:i tap_number:i state:t response_code:t mid:t tid:t batch:t stan:t settlement_date:t")
)
"""What the acquirer said of a tap, and under which number: `state` delivered or refused."""
OFFICE_TABLES: Final = (TAPS, FILES, FATES)


class Row(NamedTuple):
    """A row for the durable store; numbers count over all three tables."""

    table: str
    row: tuple[Any, ...]


@dataclass(slots=True, repr=False)
class Ride:
    """A tap in the office's hands. `number` is that of its row; `state` is "waiting", "delivered", "refused" or
    "listed"; `key` the keyed hash of card and counter."""

    number: int
    validator: str
    file: int
    key: str
    tap: Tap
    state: str
    response_code: str = ""

    def __repr__(self) -> str:
        return f"Ride({self.number} {self.validator}/{self.file} {self.tap} {self.state} {self.response_code})"


class OfficeMemory(Memory):
    """A terminal of the back office: it has no reader, its cards were read by the validators."""

    __slots__ = ()

    @property
    def reads(self) -> str:
        """DE60.4: contact and contactless chips."""
        return READS_CHIPS


class Uploaded(NamedTuple):
    """How a round of uploads went: taps delivered and refused; `reason` why it stopped before there was nothing left:
    "timed out", "unreachable", "bad reply", a response code that decides nothing, or the dialogue in the way."""

    delivered: int
    refused: int
    reason: str = ""


class BackOffice:
    """The office. `hsm` holds STORE and HASH; `persist` makes rows durable before it returns, and may raise.

    `terminals` are the memories of its own terminals at the acquirer, `rides` is every tap it knows, in the order of
    their rows.
    """

    def __init__(
        self, hsm: Hsm, persist: Callable[[Sequence[Row]], None], lists: Lists, terminals: Iterable[Memory] = ()
    ) -> None:
        self.hsm = hsm
        self.lists = lists
        self.terminals = tuple(terminals)
        self.rides: dict[int, Ride] = {}
        self.files: dict[tuple[str, int], str] = {}
        self.counts: Counter[str] = Counter()
        self._persist = persist
        self._number = 0
        self._known: dict[str, bytes] = {}
        self._waiting: dict[int, Ride] = {}
        self._assigned: dict[int, tuple[Memory, Item]] = {}
        # What the terminals' own memories hold, so that a restarted office sends nothing under a second number.
        self._items: dict[str, tuple[Memory, Item]] = {
            self._hash(item.chip.pan, item.chip.psn[1:], item.chip.atc): (memory, item)
            for memory in self.terminals
            for item in (*memory.closed, *memory.items)
            if item.chip is not None and item.kind == KIND
        }

    # from the validators

    def receive(self, body: bytes) -> bytes:
        """The answer to a validator: of a file only when all its rows are durable. Raises what `persist` raises."""
        head, _, rest = body.partition(b"|")
        if head == LIST.encode():
            return self._page(rest)
        if head != HEAD.encode():
            return f"{FAULT}||0|unknown".encode()
        try:
            file = read_file(body)
        except FileFault as fault:
            self.counts["faulty files"] += 1
            return f"{FAULT}||0|{fault}".encode()
        digest = digest_of(body)
        if self.files.get((file.validator, file.number)) != digest:
            rows, rides, number = [], [], self._number
            for tap in file.taps:
                ride = self._new(tap, file.validator, file.number, number + 1)
                if ride is not None:
                    number += 1
                    rides.append(ride)
                    rows.append(self._row(ride))
            number += 1
            rows.append(Row(FILES.name, (number, file.validator, file.number, digest, len(file.taps))))
            self._write(rows)
            for ride in rides:
                self._keep(ride)
            self.files[file.validator, file.number] = digest
        else:
            self.counts["repeated files"] += 1
        return f"{TAKEN}|{file.validator}|{file.number}|{digest}".encode()

    def _page(self, rest: bytes) -> bytes:
        parts = rest.decode("ascii", "replace").split("|")
        if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
            return f"{FAULT}||0|unknown".encode()
        size = 0 if int(parts[1]) == self.lists.version else PAGE
        return write_page(self.lists, int(parts[2]), size)

    def _new(self, tap: Tap, validator: str, file: int, number: int) -> Ride | None:
        """What a tap of a new file is: None where this very tap is here already."""
        key = self._hash(tap.pan, tap.psn, tap.atc)
        known = self._known.get(key)
        if known is not None and known == tap.certificate:
            self.counts["repeated taps"] += 1
            return None
        if known is not None:  # a card's counter certifies one payment: the other is not claimed
            if self._known.get(key + known.hex()) == tap.certificate:
                self.counts["repeated taps"] += 1
                return None
            tap = tap._replace(state="listed", reason="other certificate")
        return Ride(number, validator, file, key, tap, "waiting" if tap.state == "paid" else "listed")

    def _hash(self, pan: str, psn: str, atc: int) -> str:
        # Most cards have a sequence number, and DE23 of one without is 000: as if it were 00.
        return self.hsm.keyed_hash(HASH, f"{pan}-{psn.rjust(2, '0')}-{atc:04X}".encode()).hex()

    def _row(self, ride: Ride) -> Row:
        tap = ride.tap
        clear, aad = write_tap(tap).encode(), f"{ride.number}".encode()
        return Row(
            TAPS.name,
            (
                ride.number, ride.validator, ride.file, tap.number, ride.key, mask_pan(tap.pan),
                tap.amount_minor, tap.at, tap.line, tap.zone, tap.state, tap.reason,
                self.hsm.seal(STORE, clear, aad),
            ),
        )  # fmt: skip

    def _write(self, rows: Sequence[Row]) -> None:
        self._persist(rows)
        self._number = rows[-1].row[0]

    def _keep(self, ride: Ride) -> None:
        key, certificate = ride.key, ride.tap.certificate
        known = self._known.setdefault(key, certificate)
        if known != certificate:
            self._known[key + known.hex()] = certificate
        self.rides[ride.number] = ride
        if ride.state == "waiting":
            self._waiting[ride.number] = ride
            if key in self._items:
                self._assigned[ride.number] = self._items[key]

    def recover(self, rows: Iterable[Row]) -> None:
        """Come back from durable rows, in the order of their numbers. Raises CryptoError where a seal does not open."""
        for table, row in rows:
            self._number = row[0]
            if table == TAPS.name:
                number, validator, file, _, key = row[:5]
                line = self.hsm.open(STORE, row[-1], f"{number}".encode()).decode()
                try:
                    tap = read_tap(line, number)
                except FileFault:
                    raise CryptoError("a sealed tap does not read") from None
                self._keep(Ride(number, validator, file, key, tap, "waiting" if tap.state == "paid" else "listed"))
            elif table == FILES.name:
                self.files[row[1], row[2]] = row[3]
            else:
                self._decided(self.rides[row[1]], row[2], row[3])

    # to the acquirer

    @property
    def waiting(self) -> int:
        """Taps that the acquirer has not answered for."""
        return len(self._waiting)

    @property
    def kept(self) -> list[Ride]:
        """Taps waiting that no terminal has in its memory yet."""
        return [ride for number, ride in self._waiting.items() if number not in self._assigned]

    def of(self, state: str) -> list[Ride]:
        """All taps in a state; "refused" is the failed list, "listed" what was never claimed."""
        return [ride for ride in self.rides.values() if ride.state == state]

    def assign(self, memory: Memory) -> bool:
        """Give a terminal the next tap, into its own memory; whether there was one. A tap stays with its terminal."""
        ride = next((ride for number, ride in self._waiting.items() if number not in self._assigned), None)
        if ride is None:
            return False
        item = _item(memory, ride.tap)
        memory.items.append(item)
        memory.offline.append(item)
        self._assigned[ride.number] = memory, item
        return True

    def book(self, memory: Memory) -> tuple[int, int]:
        """Write down what a terminal has been answered; how many taps were delivered and refused."""
        found: Counter[str] = Counter()
        for number, (where, item) in list(self._assigned.items()):
            if where is memory and item.state != "offline":
                ride = self.rides[number]
                self.decide(ride, item, memory)
                found[ride.state] += 1
        return found["delivered"], found["refused"]

    def decide(self, ride: Ride, item: Item, memory: Memory) -> None:
        """Write down what the acquirer said of an item: approvals and 94 are delivered, anything else refused."""
        state = "delivered" if item.state == "approved" else "refused"
        number, code = self._number + 1, item.response_code
        where = (memory.mid, memory.tid, item.batch, item.stan, item.settlement_date)
        self._write([Row(FATES.name, (number, ride.number, state, code, *where))])
        self._decided(ride, state, code)

    def _decided(self, ride: Ride, state: str, code: str) -> None:
        ride.state, ride.response_code = state, code
        self._waiting.pop(ride.number, None)
        self._assigned.pop(ride.number, None)
        self.counts["answered 94"] += code == DUPLICATE

    def __repr__(self) -> str:
        return f"BackOffice({len(self.rides)} taps, {len(self._waiting)} waiting)"


def _item(memory: Memory, tap: Tap) -> Item:
    item = Item(KIND, memory.batch, memory.next_stan(), tap.amount_minor, CONTACTLESS, tap.pan, tap.expiry)
    item.chip = Chip(
        tap.pan, tap.psn.zfill(3), tap.atc, "", "", tap.icc_data, certificate="TC", ac=tap.certificate.hex().upper(),
        arc="Y1", e_cash=True,
    )  # fmt: skip
    item.state = "offline"
    item.date, item.time = tap.at[4:8], tap.at[8:]
    return item


def upload(office: BackOffice, memory: Memory, line: Line, most: int = 100) -> Flow[Uploaded]:
    """Upload up to `most` taps as one of the office's terminals; stops where the acquirer cannot be asked."""
    delivered = refused = 0
    for _ in range(most):
        obstacle = yield from ready(memory, line)
        # Also what was answered before power was lost, and what went before.
        booked = office.book(memory)
        delivered, refused = delivered + booked[0], refused + booked[1]
        if obstacle is not None:
            return Uploaded(delivered, refused, obstacle.kind)
        if not memory.offline and not office.assign(memory):
            break
        outcome = yield from deliver(memory, line, 1)
        booked = office.book(memory)
        delivered, refused = delivered + booked[0], refused + booked[1]
        if outcome is not None:
            return Uploaded(delivered, refused, outcome.reason or outcome.response_code)
    return Uploaded(delivered, refused)


class TapStore:
    """The office's rows in a SQLite file of its own."""

    def __init__(self, path: str | Path) -> None:
        """Open or make it. Raises apsw.Error."""
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._tables = {table.name: table for table in OFFICE_TABLES}
        for table in OFFICE_TABLES:
            self._connection.execute(table.create())

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows, all or none; they are durable when it returns. Raises apsw.Error."""
        with self._connection:
            for row in rows:
                self._connection.execute(self._tables[row.table].insert(), row.row)

    def rows(self) -> list[Row]:
        """All rows in the order of their numbers: what `BackOffice.recover` takes."""
        found = [
            Row(table.name, tuple(row))
            for table in OFFICE_TABLES
            for row in self._connection.execute(f"SELECT * FROM {table.name}")
        ]
        return sorted(found, key=lambda row: row.row[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
