"""The transaction matrix as data: one row per transaction, on the terminal's link and on the network's.

Terminals build their requests from these rows, the engine admits by them, the issuers recognise them. Sources: the
UnionPay POS matrix (terminal side) and the member rules of the network (network side).
"""

from typing import Final, NamedTuple

CARD: Final = (2, 35)
"""A card must be named by at least one of these fields."""


class Transaction(NamedTuple):
    """One row of the matrix.

    `mandatory` lists the DEs without which the host answers 30; `original` tells how the earlier transaction is named:
    "stan" (DE61 batch and STAN), "rrn" (DE37 and DE61), "auth" (DE38 and card), "" for none. `sign` is what the
    amount does to the merchant's batch: +1 debit (the holder pays), -1 credit, 0 nothing.
    """

    name: str
    zh: str
    en: str
    mti: str
    processing_code: str
    condition: str
    type_code: str
    mandatory: tuple[int, ...]
    network_mti: str
    network_processing_code: str
    original: str = ""
    undoes: str = ""
    sign: int = 0
    pin: bool = True
    reversible: bool = True
    amount: bool = True

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a request of this row carries in MTI, DE3, DE25 and DE60.1."""
        return self.mti, self.processing_code, self.condition, self.type_code


_FINANCIAL: Final = (3, 4, 11, 22, 25, 41, 42, 49, 60, 64)

ROWS: Final = (
    Transaction(
        "balance", "余额查询", "balance inquiry", "0200", "310000", "00", "01", (3, 11, 22, 25, 41, 42, 49, 60, 64),
        "0200", "300000", reversible=False, amount=False,
    ),
    Transaction("sale", "消费", "sale", "0200", "000000", "00", "22", _FINANCIAL, "0200", "000000", sign=1),
    Transaction(
        "sale_void", "消费撤销", "void of a sale", "0200", "200000", "00", "23", (*_FINANCIAL, 37, 61),
        "0200", "200000", original="stan", undoes="sale", sign=-1,
    ),
    Transaction(
        "refund", "退货", "refund", "0220", "200000", "00", "25", (*_FINANCIAL, 37, 61, 63),
        "0220", "200000", original="rrn", sign=-1, pin=False, reversible=False,
    ),
    Transaction("preauth", "预授权", "pre-authorization", "0100", "030000", "06", "10", _FINANCIAL, "0100", "030000"),
    Transaction(
        "preauth_void", "预授权撤销", "void of a pre-authorization", "0100", "200000", "06", "11",
        (*_FINANCIAL, 38, 61), "0100", "200000", original="auth", undoes="preauth",
    ),
    Transaction(
        "completion", "预授权完成", "pre-authorization completion", "0200", "000000", "06", "20",
        (*_FINANCIAL, 38, 61), "0200", "000000", original="auth", sign=1,
    ),
    Transaction(
        "completion_void", "预授权完成撤销", "void of a completion", "0200", "200000", "06", "21",
        (*_FINANCIAL, 37, 61), "0200", "200000", original="stan", undoes="completion", sign=-1,
    ),
)  # fmt: skip

BY_NAME: Final = {row.name: row for row in ROWS}
BY_KEY: Final = {row.key: row for row in ROWS}
BY_NETWORK: Final = {(row.network_mti, row.network_processing_code, row.condition): row for row in ROWS}
"""Network side: MTI, DE3 and DE25 name a row (DE60.1 is a reason code there)."""

FINANCIAL_MTIS: Final = frozenset(row.mti for row in ROWS)

REVERSAL_MANDATORY: Final = (3, 4, 11, 22, 25, 39, 41, 42, 49, 60, 64)
"""DEs of a terminal's 0400, whatever it reverses; DE11 is the original's."""

ADMIN_MANDATORY: Final[dict[tuple[str, str], tuple[int, ...]]] = {
    ("0800", "001"): (11, 41, 42, 60),
    ("0800", "003"): (11, 41, 42, 60),
    ("0800", "004"): (11, 41, 42, 60),
    ("0800", "006"): (11, 41, 42, 60),
    ("0820", "002"): (11, 41, 42, 60),
    ("0820", "301"): (41, 42, 60),
    ("0500", "201"): (11, 41, 42, 48, 49, 60, 63),
    ("0320", "000"): (3, 4, 11, 22, 25, 41, 42, 60),
    ("0320", "201"): (11, 41, 42, 48, 60),
    ("0320", "202"): (11, 41, 42, 48, 60),
    ("0320", "207"): (11, 41, 42, 48, 60),
}
"""(MTI, DE60.3) of each message that moves no money, with its mandatory DEs."""

BATCH_ITEMS_MAX: Final = 999
"""Counts in DE48 have three digits: a terminal settles before its batch holds more items than this."""

APPROVED: Final = frozenset(("00", "10", "11", "16", "A2", "A4", "A5", "A6"))
"""Response codes of action class A."""


def reply_mti(mti: str) -> str:
    """The answer's MTI: the third digit one up (0200 -> 0210, 0220 -> 0230, 0400 -> 0410).

    >>> reply_mti("0420")
    '0430'
    """
    return mti[:2] + str(int(mti[2]) + 1) + mti[3]
