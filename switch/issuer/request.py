"""A request or advice as an issuer sees it: the network's fields read once, and what is missing named."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from switch.issuer.register import Key
from switch.issuer.verify import PinBlock
from switch.wire.transactions import BY_NAME, BY_NETWORK, CHIP_TWINS, ROWS, Transaction

if TYPE_CHECKING:
    from switch.issuer.chipstate import Reading

_ALWAYS: Final = (2, 3, 7, 11, 12, 13, 18, 22, 25, 32, 33, 37, 41, 42, 49, 60)


_NOTICE: Final = (2, 7, 11, 18, 22, 32, 33, 37, 41, 42, 49, 55, 90)


def _wanted(row: Transaction) -> tuple[int, ...]:
    if row.chip == "notice":
        return _NOTICE
    wanted: tuple[int, ...] = (*_ALWAYS, 4) if row.amount else _ALWAYS
    if row.voice or row.original == "auth":
        wanted += (38,)
    if row.elements and row.undoes:
        wanted += (90,)
    if 55 in row.mandatory:
        wanted += (55,)
    if row.new_pin:
        wanted += (52, 53)
    return (*wanted, 103) if row.detail == "transfer" else wanted


MANDATORY: Final = {name: _wanted(BY_NAME[name]) for name in sorted({row.seen_as for row in ROWS})}
"""DEs of a request without which the answer is 30, by kind (docs/protocol-network.md section 6)."""

REVERSAL_MANDATORY: Final = (2, 3, 4, 7, 11, 18, 25, 32, 33, 37, 41, 42, 49, 60, 90)

REVERSIBLE_MTIS: Final = frozenset(("0100", "0200"))


class Request:
    """What an issuer needs to know. `kind` is a row of the transaction matrix; of a reversal, that of its original.

    `original` is the key in DE90, None without one; `foreign_original` says that DE90 names other institutions than
    the sender's own. `receiver` is the card that a load or transfer pays to, `receiving` the institution of a bank here
    that has it, "" if it is elsewhere. `new_pin` is the block that a PIN change brings beside `pin`. `psn` is the card
    sequence number, two digits or ""; `chip` what was read of the card's chip (`icc_data`, DE55), None before.
    """

    __slots__ = (
        "advice",
        "amount_minor",
        "auth_code",
        "chip",
        "currency",
        "entry_mode",
        "expiry",
        "foreign_original",
        "icc_data",
        "key",
        "kind",
        "mcc",
        "mid",
        "new_pin",
        "original",
        "pan",
        "pin",
        "psn",
        "receiver",
        "receiving",
        "reversal",
        "rrn",
        "tid",
        "track2",
    )

    def __init__(self, mti: str, kind: str, fields: Mapping[int, Any]) -> None:
        get = fields.get
        acquirer, forwarder = fields[32], fields[33]
        self.key = Key(mti, fields[7], fields[11], acquirer, forwarder)
        self.kind = kind
        self.receiver: str = get(103, "")
        self.receiving = ""
        self.reversal = mti == "0420"
        self.advice = mti[1:] in ("220", "420", "620")
        self.pan: str = fields[2]
        self.amount_minor = int(get(4, "0"))
        self.currency: str = fields[49]
        self.auth_code: str = get(38, "")
        self.expiry: str = get(14, "")
        self.track2: str = get(35, "")
        self.mcc: str = fields[18]
        self.rrn: str = fields[37]
        self.tid: str = fields[41]
        self.mid: str = fields[42]
        self.entry_mode: str = fields[22]
        self.psn: str = get(23, "")[-2:]
        self.icc_data: bytes = get(55, b"")
        self.chip: Reading | None = None
        self.pin: PinBlock | None = None
        self.new_pin: PinBlock | None = None
        self.original: Key | None = None
        self.foreign_original = False
        elements = get(90)
        if elements is not None:
            self.original = Key(elements[:4], elements[10:20], elements[4:10], acquirer, forwarder)
            self.foreign_original = elements[20:] != acquirer.zfill(11) + forwarder.zfill(11)

    @property
    def row(self) -> Transaction:
        return BY_NAME[self.kind]

    def __repr__(self) -> str:
        return f"Request({self.kind} {self.key.mti} {self.key.time} {self.key.stan})"


def kind_of(mti: str, fields: Mapping[int, Any], rows: Mapping[tuple[str, str, str], Transaction] = BY_NETWORK) -> str:
    """The matrix row of a message, of a reversal that of its original; "" if there is none.

    A reversal without DE90 is taken for one of a 0200 here, so that DE90 can be named as missing.
    """
    if mti == "0420":
        mti = fields.get(90, "0200")[:4]
    elif mti == "0620":
        return rows[mti, "", ""].name  # DE3 and DE25 are those of what it speaks of
    row = rows.get((mti, fields.get(3, ""), fields.get(25, "")))
    if row is None:
        return ""
    return CHIP_TWINS.get(row.name, row.name) if 55 in fields else row.name


def missing(mti: str, kind: str, fields: Mapping[int, Any]) -> tuple[int, ...]:
    """The mandatory DEs that are absent."""
    wanted = REVERSAL_MANDATORY if mti == "0420" else MANDATORY[kind]
    return tuple(de for de in wanted if de not in fields)
