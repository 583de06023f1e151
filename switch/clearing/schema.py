"""Tables of the durable books, as data: the switch's journal, the issuers' ledger, the terminals' journals.

Every table starts with `number`, the machine's running count of posts: one sequence over all its tables, so the order
of everything that happened can be read back. Amounts are ints in minor units, times epoch milliseconds, dates MMDD.
A PAN stands only sealed (under the HSM's storage key), truncated, or as a keyed hash.
"""

from typing import Final, NamedTuple


class Table(NamedTuple):
    """A table's columns as (name, SQLite type).

    The terminals' own books have tables by that name; in a journal or ledger rows stand by commits, and the table is a
    view of them (`switch.net.chain`). No index anywhere: whoever reads, reads whole books.
    """

    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.columns)

    def select(self) -> str:
        """The SELECT of all columns, in the order of the rows."""
        return f"SELECT {', '.join(self.names)} FROM {self.name} ORDER BY number"

    def create(self) -> str:
        """The CREATE TABLE statement."""
        body = ", ".join(
            f"{name} {kind}{' PRIMARY KEY' if name == 'number' else ' NOT NULL'}" for name, kind in self.columns
        )
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({body}) STRICT"

    def insert(self) -> str:
        """The INSERT statement, one `?` a column."""
        marks = ", ".join("?" * len(self.columns))
        return f"INSERT INTO {self.name} VALUES ({marks})"


def _table(name: str, columns: str) -> Table:
    pairs = tuple(tuple(column.split(":")) for column in columns.split())
    kinds = {"i": "INTEGER", "t": "TEXT", "b": "BLOB"}
    return Table(name, tuple((column, kinds[kind]) for column, kind in pairs))


JOURNAL: Final = _table(
    "journal",
    # one row per state change of a transaction key
    "number:i at_ms:i state:t kind:t "
    # the terminal's key
    "mid:t tid:t batch:t stan:t "
    # the link's key
    "link:t net_mti:t net_time:t net_stan:t acquirer:t forwarder:t receiver:t "
    "rrn:t amount:i currency:t entry_mode:t mcc:t on_us:i "
    "response_code:t auth_code:t settlement_date:t reason:t "
    # the earlier transaction of a void, refund or completion: its row's RRN
    "original_rrn:t "
    # the key under which a reversal or stored advice is sent, and sent again
    "saf_time:t saf_stan:t "
    "pan_sealed:b pan_masked:t pan_hash:t "
    # the type of card by the BIN table: debit, credit, or "" where it does not say
    "card:t "
    # the chip: its number, its count, how it was read (DE60 on the network), what of DE55 must be told again
    "psn:t atc:t read:t icc_sealed:b",
)
"""The switch's book. `state` is one of STATES; the rows of one RRN are one transaction's life."""

STATES: Final = (
    "sent",  # durable before the request leaves for the other side
    "answered",  # durable before an approval leaves for the terminal
    "reversal_queued",  # durable before the switch gives up on the request
    "reversal_acked",  # the other side took the reversal
    "stored",  # an advice accepted for the other side, to be delivered until answered
    "delivered",  # the stored advice was answered
    "late",  # an answer after the switch had given up
    "suspicious",  # to be settled by hand (差错): reversal refused, advice refused
)

TERMINAL: Final = _table(
    "terminal",
    "number:i at_ms:i event:t mid:t tid:t batch:t suite:t pik:b mak:b tdk:b",
)
"""Sign-in, sign-off and batch changes of terminals; working keys only as sealed records of the HSM."""

SETTLEMENT: Final = _table(
    "settlement",
    "number:i at_ms:i event:t mid:t tid:t batch:t debit_minor:i debit_count:i credit_minor:i credit_count:i "
    "host_debit_minor:i host_debit_count:i host_credit_minor:i host_credit_count:i result:t",
)
"""A terminal's totals beside the switch's own (0500), and what the batch upload showed (events `totals`, `end`)."""

UPLOAD: Final = _table(
    "upload",
    "number:i at_ms:i mid:t tid:t batch:t stan:t amount:i result:t",
)
"""Batch upload, item by item: matched, amount_differs, pos_only, host_only; chip_declined moves no money."""

DAY: Final = _table("day", "number:i at_ms:i link:t event:t settlement_date:t")
"""Cut-over as a counterpart announced it: event 201 (start) or 202 (end) with the new date."""

DOWNLOAD: Final = _table("download", "number:i at_ms:i tid:t requirement:t version:t")
"""A terminal has ended a download: what it was (the digit of the header that announces it) and which version."""

OVERTAKEN: Final = _table("overtaken", "number:i at_ms:i tid:t batch:t stan:t")
"""A terminal's reversal whose original was not here: a request under that key is refused when it comes."""

LEDGER: Final = _table(
    "ledger",
    "number:i at_ms:i issuer:t kind:t effect:t mti:t net_time:t net_stan:t acquirer:t forwarder:t "
    # the key of what a reversal or void undoes
    "original_time:t original_stan:t "
    "rrn:t mid:t tid:t mcc:t amount:i currency:t "
    # what the entry moved: posted_minor > 0 the holder paid, < 0 the holder was paid; held_minor likewise for holds
    "posted_minor:i held_minor:i "
    "response_code:t auth_code:t settlement_date:t pan_masked:t pan_hash:t "
    # the line it came over: two counterparts of one switch may see the same DE7 and DE11
    "link:t",
)
"""The issuers' book: every answer they gave, with what it moved."""

CHIPS: Final = _table(
    "chips",
    # what happened, to which card: its reference, never its number
    "number:i at_ms:i issuer:t card_ref:t pan_masked:t event:t "
    # the chip's transaction counter; what the event takes from (+) or gives to (-) the purse; the balance the chip told
    # (-1: none) and the shadow account after it
    "atc:i amount:i balance_minor:i shadow_minor:i "
    # the message that brought it, and the number of the ledger row of the load it speaks of (0: none)
    "net_mti:t net_time:t net_stan:t acquirer:t forwarder:t rrn:t load:i "
    "settlement_date:t detail:t link:t",
)
"""The issuers' book of chips (switch/issuer/chips.py tells the events): from it a card's counter, its electronic cash
and its loads are known again after a restart."""
PINS: Final = _table("pins", "number:i at_ms:i issuer:t pan_hash:t pin_reference:b link:t")
"""The issuers' PIN references after a PIN change, the last one of a card stands: a digest under the HSM's PVK, never a
PIN and never a block."""

TERMINALS: Final = _table(
    "terminals",
    "number:i mid:t tid:t batch:t stan:t kind:t amount:i currency:t entry_mode:t pan_masked:t rrn:t auth_code:t "
    "response_code:t settlement_date:t state:t reversal:t original_batch:t original_stan:t",
)
"""The terminals' own book. `state`: approved, declined, unknown; `reversal`: none, pending, done, refused."""

CASH: Final = _table(
    "cash",
    # event: loaded, dispensed, deposited, retracted, rejected, counted; at: the host's clock, MMDDhhmmss
    "number:i mid:t tid:t event:t denomination_minor:i notes:i batch:t stan:t rrn:t at:t",
)
"""The cash book of the machines that hold notes; a `counted` row ends a period of its machine and denomination."""

ERRORS: Final = _table(
    "errors",
    "number:i mid:t tid:t batch:t stan:t rrn:t pan_masked:t approved_minor:i dispensed_minor:i difference_minor:i "
    "cause:t state:t",
)
"""Withdrawals whose cash and booking differ (差错). `state`: open until the machine is counted, reported, counted."""

RETAINED: Final = _table("retained", "number:i mid:t tid:t pan_masked:t cause:t response_code:t at:t")
"""Cards a machine has kept (吞卡)."""

CARDS: Final = _table("cards", "number:i card_ref:t pan_masked:t balance_minor:i issued_minor:i")
"""What the cards themselves say: electronic cash on each at the end, and what it was issued with."""

OFFLINE: Final = _table(
    "offline",
    "number:i mid:t tid:t batch:t stan:t card_ref:t atc:i amount:i state:t at:t",
)
"""Certificates (TC) of offline sales as their terminals hold them. `state`: held, delivered (answered 00 or 94),
refused."""

SWITCH_TABLES: Final = (JOURNAL, TERMINAL, SETTLEMENT, UPLOAD, DAY, DOWNLOAD, OVERTAKEN)
ISSUER_TABLES: Final = (LEDGER, PINS, CHIPS)
TERMINAL_TABLES: Final = (TERMINALS, CASH, ERRORS, RETAINED, CARDS, OFFLINE)
