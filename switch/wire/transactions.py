"""The transaction matrix as data: one row per transaction, on the terminal's link and on the network's.

Terminals build their requests from these rows, the engine admits by them, the issuers decide by them, the books are
joined by them: a row says all that a kind needs and does, and nobody asks for a kind by its name. Sources: the UnionPay
POS matrix (terminal side) and the member rules of the network (network side).
"""

from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

CARD: Final = (2, 35)
"""A card must be named by at least one of these fields."""

Effect = Literal["none", "debit", "credit", "hold", "hold_more", "capture", "undo"]
"""What an approval does to the card: nothing; the holder pays; the holder is paid; an amount is set aside; more is set
aside with an earlier hold; a hold is paid out; what the original did is undone."""

Detail = Literal["", "instalment", "points", "transfer"]
"""What a terminal's DE62 holds: periods and goods (usage 9), goods (usage 13), the card that receives (usage 10)."""


class Transaction(NamedTuple):
    """One row of the matrix.

    `mandatory` lists the DEs without which the host answers 30; `original` tells how the earlier transaction is named:
    "stan" (DE61 batch and STAN), "rrn" (DE37 and DE61), "auth" (DE38 and card), "terminal" (DE61, and in DE62 the
    terminal), "" for none; `of` are the kinds it may be. `effect` is what an approval does to the card, `points` that
    it does so to the card's points; `sign` what the amount does to the merchant's batch: +1 debit (the holder pays), -1
    credit, 0 nothing.

    `elements` says that DE90 names the original on the network. `entry` are the first two digits of DE22 where the kind
    decides them, and then no track is read; `account_type` is DE60.7; `tip` that DE48 repeats the amount; `detail` what
    DE62 holds. `assisted`: debit cards with their PIN only, under a daily limit of its own. `cash` says that a machine
    pays notes out or takes them in; `confirmed_by` is the advice that tells an unanswered request again instead of
    reversing it, and that advice `confirms`: it moves what the request did not. `terminal_type` is DE60.2.5 on the
    network where it is not the line's. `new_pin`: a second PIN block beside the first holds the PIN that the card
    is to have from now on. `unverified`: the sources have no field table for it, or none for the network.

    `network_condition` is DE25 on the network where it is not the terminal's. DE3 and DE25 of a script notice are those
    of the transaction it speaks of.

    `chip` says what a chip has to do with it: "offline" has happened in the card, and its certificate (TC) is told;
    "refund" gives such a one back; "load" puts money onto the card, "takeup" gives the card a load it missed; "notice"
    tells what became of the issuer's commands.
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
    of: tuple[str, ...] = ()
    effect: Effect = "none"
    sign: int = 0
    pin: bool = True
    reversible: bool = True
    amount: bool = True
    elements: bool = False
    entry: str = ""
    account_type: str = ""
    detail: Detail = ""
    points: bool = False
    tip: bool = False
    assisted: bool = False
    cash: Literal["", "in", "out"] = ""
    confirmed_by: str = ""
    confirms: bool = False
    terminal_type: str = ""
    new_pin: bool = False
    unverified: bool = False
    network_condition: str = ""
    chip: Literal["", "offline", "refund", "load", "takeup", "notice"] = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a request of this row carries in MTI, DE3, DE25 and DE60.1."""
        return self.mti, self.processing_code, self.condition, self.type_code

    @property
    def network_key(self) -> tuple[str, str, str]:
        """What a request of this row carries in MTI, DE3 and DE25 on the network."""
        return self.network_mti, self.network_processing_code, self.network_condition or self.condition

    @property
    def advice(self) -> bool:
        """Whether it tells what has happened (通知): repeated until answered, held for the other side."""
        return self.network_mti in ("0220", "0620")

    @property
    def carries_icc(self) -> bool:
        """Whether a request about a card whose chip was read carries DE55: it asks, and does not speak of an earlier
        one (docs/chip-flows.md)."""
        return 55 in self.mandatory or not (self.original or self.entry or self.advice)

    @property
    def undoes(self) -> tuple[str, ...]:
        """The kinds that this one voids."""
        return self.of if self.effect == "undo" else ()

    @property
    def heads(self) -> bool:
        """Whether it moves money by itself, and not only by what it makes of an earlier transaction."""
        return self.effect in ("debit", "credit", "hold")

    @property
    def drops_expiry(self) -> bool:
        """Whether the network wants no DE14 with it: the void of a sale."""
        return self.effect == "undo" and BY_NAME[self.of[0]].effect == "debit"

    @property
    def voice(self) -> bool:
        """Whether its authorization code was given by telephone before, and comes with it in DE38."""
        return not self.original and 38 in self.mandatory

    @property
    def tells_balance(self) -> bool:
        """Whether its answer carries a balance (DE54)."""
        return self.processing_code[:2] == "31"

    @property
    def moves(self) -> tuple[int, str]:
        """What an approval moves on the card: +1 or -1 times the amount, or 0; and in which column of the ledger,
        "posted" or "held"."""
        if self.effect == "undo":
            factor, column = BY_NAME[self.of[0]].moves
            return -factor, column
        return _MOVES[self.effect]

    @property
    def seen_as(self) -> str:
        """The name an issuer knows it by: kinds that only DE60.1 tells apart are one on the network, unless one of them
        has DE55."""
        name = BY_NETWORK[self.network_key].name
        return CHIP_TWINS.get(name, name) if self.chip else name


_MOVES: Final[dict[str, tuple[int, str]]] = {
    "none": (0, "posted"), "debit": (1, "posted"), "credit": (-1, "posted"), "hold": (1, "held"),
    "hold_more": (1, "held"), "capture": (1, "posted"),
}  # fmt: skip

_INQUIRY: Final = (3, 11, 22, 25, 41, 42, 49, 60, 64)
_FINANCIAL: Final = (3, 4, *_INQUIRY[1:])
ATM: Final = "02"
"""DE25 at a machine without attendant (docs/atm.md)."""
ATM_TYPE: Final = "01"
"""DE60.2.5 of an ATM on the network."""
_PHONE, _BOOKED = "01", "92"
"""DE22 of a card that is not there: its number keyed in, or known from the reservation."""


def _sale(name: str, zh: str, en: str, condition: str, **more: Any) -> tuple[Transaction, Transaction]:
    """A kind of sale and its void, which differ from the plain ones in `condition` (DE25) and what `more` says."""
    types = more.pop("types", ("22", "23"))
    mandatory = (*_FINANCIAL, 62) if more.get("detail") else _FINANCIAL
    return (
        Transaction(
            name, zh, en, "0200", "000000", condition, types[0], mandatory, "0200", "000000",
            effect="debit", sign=1, **more,
        ),
        Transaction(
            f"{name}_void", f"{zh}撤销", f"void of {en}", "0200", "200000", condition, types[1],
            (*_FINANCIAL, 37, 61), "0200", "200000", original="stan", of=(name,), effect="undo", sign=-1,
            elements=True, **{key: value for key, value in more.items() if key != "detail"},
        ),
    )  # fmt: skip


def _holding(prefix: str, zh: str, en: str, condition: str, **more: Any) -> tuple[Transaction, ...]:
    """A pre-authorization, its void, its completion and the void of that."""
    hold, capture = f"{prefix}preauth", f"{prefix}completion"
    captures = (capture,) if prefix else (capture, "completion_notice")
    return (
        Transaction(
            hold, f"{zh}预授权", f"{en}pre-authorization", "0100", "030000", condition, "10", _FINANCIAL,
            "0100", "030000", effect="hold", **more,
        ),
        Transaction(
            f"{hold}_void", f"{zh}预授权撤销", f"void of a {en}pre-authorization", "0100", "200000", condition, "11",
            (*_FINANCIAL, 38, 61), "0100", "200000", original="auth", of=(hold,), effect="undo", **more,
        ),
        Transaction(
            capture, f"{zh}预授权完成", f"{en}pre-authorization completion", "0200", "000000", condition, "20",
            (*_FINANCIAL, 38, 61), "0200", "000000", original="auth", of=(hold,), effect="capture", sign=1, **more,
        ),
        Transaction(
            f"{capture}_void", f"{zh}预授权完成撤销", f"void of a {en}completion", "0200", "200000", condition, "21",
            (*_FINANCIAL, 37, 61), "0200", "200000", original="stan", of=captures, effect="undo", sign=-1,
            elements=True, **more,
        ),
    )  # fmt: skip


def _notice(name: str, zh: str, en: str, code: str, type_code: str, **more: Any) -> Transaction:
    """An advice: no PIN, repeated and never reversed. DE3 is the same on both sides."""
    mandatory = (*_FINANCIAL, 61, 63, *more.pop("also", ()))
    return Transaction(
        name, zh, en, "0220", code, more.pop("condition", "00"), type_code, mandatory, "0220", code,
        pin=False, reversible=False, **more,
    )  # fmt: skip


_REFUNDABLE: Final = (
    "sale", "completion", "completion_notice", "offline_sale", "moto_sale", "moto_completion", "reservation_sale",
)  # fmt: skip

_CHIP: Final = (*_FINANCIAL[:-1], 55, 64)


def _load(name: str, zh: str, en: str, code: str, type_code: str, **more: Any) -> Transaction:
    """A load of a chip's electronic cash (圈存): contact, online, the new balance by an issuer's command."""
    mandatory = (*(de for de in _CHIP if de != 4 or more.get("amount", True)), *more.pop("also", ()))
    return Transaction(
        name, zh, en, "0200", code, "91", type_code, mandatory, "0200", code, chip=more.pop("chip", "load"), **more
    )


NOTICE_CODE: Final = "951"
"""DE60.3 and DE70 of a script result notice."""

_CHIPS: Final = (
    Transaction(
        "chip_offline_sale", "脱机消费", "chip offline sale", "0200", "000000", "00", "36", _CHIP, "0220", "000000",
        effect="debit", sign=1, pin=False, reversible=False, chip="offline",
    ),
    Transaction(
        "chip_offline_refund", "脱机退货", "refund of a chip offline sale", "0220", "200000", "00", "27",
        (*_FINANCIAL, 61, 62, 63), "0220", "200000", original="terminal", of=("chip_offline_sale",), effect="credit",
        sign=-1, pin=False, reversible=False, elements=True, network_condition="69", chip="refund",
    ),
    _load("load_designated", "指定账户圈存", "load from the designated account", "600000", "45", effect="debit"),
    _load("load_other", "非指定账户圈存", "load from another account", "620000", "47", effect="debit",
          also=(48, 62), detail="transfer"),
    _load("load_cash", "现金充值", "load with cash", "630000", "46", effect="credit", pin=False),
    _load("load_cash_void", "现金充值撤销", "void of a load with cash", "170000", "51", original="stan",
          of=("load_cash",), effect="undo", pin=False, elements=True, also=(37, 61)),
    _load("load_takeup", "圈存补登", "take-up of a load", "640000", "45", pin=False, reversible=False, amount=False,
          chip="takeup", unverified=True),
    Transaction(
        "script_notice", "脚本处理结果通知", "script result notice", "0620", "", "", "00",
        (2, 3, 11, 22, 25, 41, 42, 49, 55, 60, 61, 64), "0620", "", original="stan", pin=False, reversible=False,
        amount=False, elements=True, chip="notice",
    ),
)  # fmt: skip

ROWS: Final = (
    Transaction(
        "balance", "余额查询", "balance inquiry", "0200", "310000", "00", "01", _INQUIRY,
        "0200", "300000", reversible=False, amount=False,
    ),
    *_sale("sale", "消费", "sale", "00"),
    _notice("refund", "退货", "refund", "200000", "25", original="rrn", of=_REFUNDABLE, effect="credit", sign=-1,
            elements=True, also=(37,)),
    *_holding("", "", "", "06"),
    Transaction(
        "additional_preauth", "追加预授权", "additional pre-authorization", "0100", "030000", "60", "10",
        (*_FINANCIAL, 38, 61), "0100", "030000", original="auth", of=("preauth",), effect="hold_more",
    ),
    _notice("completion_notice", "预授权完成通知", "completion notice", "000000", "24", condition="06",
            original="auth", of=("preauth",), effect="capture", sign=1, also=(38,)),
    _notice("offline_sale", "离线结算", "offline sale", "000000", "30", effect="debit", sign=1, also=(38,)),
    _notice("adjust", "结算调整", "settlement adjustment", "000000", "32", original="rrn", of=("offline_sale",),
            effect="debit", sign=1, elements=True, also=(37,)),
    _notice("tip", "追加小费", "tip", "000000", "34", original="rrn", of=("sale",), effect="debit", sign=1,
            elements=True, tip=True, also=(37, 48)),
    *_sale("moto_sale", "订购消费", "MOTO sale", "08", pin=False, entry=_PHONE),
    *_holding("moto_", "订购", "MOTO ", "18", pin=False, entry=_PHONE),
    *_sale("instalment_sale", "分期消费", "instalment sale", "64", detail="instalment", unverified=True),
    *_sale("points_sale", "积分消费", "points sale", "65", detail="points", points=True, account_type="065",
           unverified=True),
    Transaction(
        "points_balance", "联盟积分查询", "points balance inquiry", "0200", "310000", "65", "03", _INQUIRY,
        "0200", "300000", reversible=False, amount=False, points=True, account_type="065", unverified=True,
    ),
    *_sale("reservation_sale", "预约消费", "reservation sale", "67", types=("54", "53"), pin=False, entry=_BOOKED),
    Transaction(
        "account_load", "磁条卡账户充值", "account load", "0200", "400000", "66", "49", (*_FINANCIAL, 62),
        "0200", "400000", effect="debit", detail="transfer",
    ),
    Transaction(
        "cash_load_verify", "磁条卡现金充值验证", "cash load verification", "0100", "330000", "00", "01", _INQUIRY,
        "0100", "330000", pin=False, reversible=False, amount=False,
    ),
    Transaction(
        "cash_load", "磁条卡现金充值", "cash load", "0200", "630000", "00", "48", _FINANCIAL,
        "0200", "630000", effect="credit", sign=-1, pin=False,
    ),
    _notice("cash_load_confirm", "磁条卡现金充值确认", "cash load confirmation", "630000", "48", original="rrn",
            of=("cash_load",), elements=True, also=(37,)),
    Transaction(
        "transfer", "转账", "transfer", "0200", "400000", "00", "71", (*_FINANCIAL, 62),
        "0200", "400000", effect="debit", detail="transfer", unverified=True,
    ),
    Transaction(
        "assisted_withdrawal", "助农取款", "assisted withdrawal", "0200", "010000", "00", "55", _FINANCIAL,
        "0200", "010000", effect="debit", sign=1, assisted=True, unverified=True,
    ),
    Transaction(
        "atm_inquiry", "ATM余额查询", "ATM balance inquiry", "0200", "310000", ATM, "01", _INQUIRY, "0200", "300000",
        reversible=False, amount=False, terminal_type=ATM_TYPE, unverified=True,
    ),
    Transaction(
        "atm_withdrawal", "ATM取款", "ATM withdrawal", "0200", "010000", ATM, "02", _FINANCIAL, "0200", "010000",
        effect="debit", sign=1, cash="out", terminal_type=ATM_TYPE, unverified=True,
    ),
    Transaction(
        "atm_deposit", "ATM存款", "ATM deposit", "0200", "210000", ATM, "02", _FINANCIAL, "0200", "210000",
        effect="credit", sign=-1, reversible=False, cash="in", confirmed_by="atm_deposit_confirm",
        terminal_type=ATM_TYPE, unverified=True,
    ),
    Transaction(
        "atm_deposit_confirm", "ATM存款确认", "confirmation of an ATM deposit", "0220", "210000", ATM, "02",
        (*_FINANCIAL, 61), "0220", "210000", original="stan", of=("atm_deposit",), effect="credit", sign=-1, pin=False,
        reversible=False, elements=True, cash="in", confirms=True, terminal_type=ATM_TYPE, unverified=True,
    ),
    Transaction(
        "atm_transfer", "ATM转账", "ATM transfer", "0200", "400000", ATM, "02", (*_FINANCIAL, 62), "0200", "400000",
        effect="debit", detail="transfer", terminal_type=ATM_TYPE, unverified=True,
    ),
    Transaction(
        "atm_pin_change", "ATM改密", "PIN change at an ATM", "0200", "700000", ATM, "01", (*_INQUIRY, 26, 52, 53),
        "0200", "700000", reversible=False, amount=False, new_pin=True, terminal_type=ATM_TYPE, unverified=True,
    ),
    *_CHIPS,
)  # fmt: skip


def _chain(row: Transaction) -> tuple[str, ...]:
    return (*_chain(BY_NAME[row.of[0]]), row.of[0]) if row.of else ()


BY_NAME: Final = {row.name: row for row in ROWS}
CHAINS: Final = {row.name: _chain(row) for row in ROWS}
"""Each kind's earlier transactions, the first one first: completion_void -> (preauth, completion)."""
BY_KEY: Final = {row.key: row for row in ROWS}
BY_NETWORK: Final = {row.network_key: row for row in reversed(ROWS)}
"""Network side: MTI, DE3 and DE25 name a row (DE60.1 is a reason code there), the first of those alike in them."""
CHIP_TWINS: Final = {
    BY_NETWORK[row.network_key].name: row.name for row in ROWS if row.chip and BY_NETWORK[row.network_key] is not row
}
"""Kinds that only DE55 tells apart on the network: the one without it, and the one with it."""

FINANCIAL_MTIS: Final = frozenset(row.mti for row in ROWS)

REVERSAL_MANDATORY: Final = (3, 4, 11, 22, 25, 39, 41, 42, 49, 60, 64)
"""DEs of a terminal's 0400, whatever it reverses; DE11 is the original's."""

ADMIN_MANDATORY: Final[dict[tuple[str, str], tuple[int, ...]]] = {
    ("0800", "001"): (11, 41, 42, 60),
    ("0800", "003"): (11, 41, 42, 60),
    ("0800", "004"): (11, 41, 42, 60),
    ("0800", "006"): (11, 41, 42, 60),
    ("0800", "360"): (41, 42, 60),
    ("0800", "361"): (41, 42, 60),
    ("0800", "370"): (41, 42, 60, 62),
    ("0800", "371"): (41, 42, 60),
    ("0800", "373"): (41, 42, 60, 62),
    ("0800", "380"): (41, 42, 60, 62),
    ("0800", "381"): (41, 42, 60),
    ("0800", "394"): (41, 42, 60),
    ("0800", "395"): (41, 42, 60),
    ("0800", "396"): (41, 42, 60),
    ("0800", "397"): (41, 42, 60),
    ("0800", "398"): (41, 42, 60),
    ("0800", "399"): (41, 42, 60),
    ("0820", "372"): (41, 42, 60, 62),
    ("0820", "373"): (41, 42, 60, 62),
    ("0820", "382"): (41, 42, 60, 62),
    ("0820", "002"): (11, 41, 42, 60),
    ("0820", "301"): (41, 42, 60),
    ("0820", "362"): (41, 42, 60, 62),
    ("0500", "201"): (11, 41, 42, 48, 49, 60, 63),
    ("0320", "000"): (3, 4, 11, 22, 25, 41, 42, 60),
    ("0320", "201"): (11, 41, 42, 48, 60),
    ("0320", "202"): (11, 41, 42, 48, 60),
    ("0320", "203"): (4, 11, 22, 41, 42, 55, 60, 62),
    ("0320", "204"): (4, 11, 22, 41, 42, 55, 60, 62),
    ("0320", "205"): (4, 11, 22, 41, 42, 55, 60, 62),
    ("0320", "206"): (4, 11, 22, 41, 42, 55, 60, 62),
    ("0320", "207"): (11, 41, 42, 48, 60),
}
"""(MTI, DE60.3) of each message that moves no money, with its mandatory DEs."""

BATCH_ITEMS_MAX: Final = 999
"""Counts in DE48 have three digits: a terminal settles before its batch holds more items than this."""

APPROVED: Final = frozenset(("00", "10", "11", "16", "A2", "A4", "A5", "A6"))
"""Response codes of action class A."""


@lru_cache(maxsize=64)  # there are few, and each message asks (0.4 us)
def reply_mti(mti: str) -> str:
    """The answer's MTI: the third digit one up (0200 -> 0210, 0220 -> 0230, 0400 -> 0410).

    >>> reply_mti("0420")
    '0430'
    """
    return mti[:2] + "1234567890"[int(mti[2])] + mti[3]
