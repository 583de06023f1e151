"""Mints terminals and their merchants from one seed: the same seed, the same fleet, thousands in a moment.

Merchants, names and keys are invented; the merchant number has the field's own build: acquirer 3, city 4, MCC 4,
serial 4.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from switch.crypto.block import adjust_parity
from terminals.device.atm import AtmMemory
from terminals.device.backoffice import OfficeMemory
from terminals.device.cash import Cassette, Vault
from terminals.device.memory import Memory
from terminals.device.pinpad import PinPad
from terminals.device.taps import Lists
from terminals.device.validator import ValidatorMemory

ACQUIRER: Final = "999"
"""First three digits of every merchant number here; no acquirer has it."""

_TRADES: Final = (
    ("5411", "超市", 22), ("5812", "饭店", 18), ("5814", "小吃店", 10), ("5311", "百货商场", 8), ("5541", "加油站", 8),
    ("5912", "大药房", 7), ("5651", "服饰店", 7), ("5732", "电器行", 5), ("7011", "宾馆", 5), ("5942", "书店", 3),
    ("5944", "珠宝店", 2), ("8062", "医院", 2), ("7832", "影院", 3),
)  # fmt: skip
"""MCC, the word a merchant's name ends with, share in 100."""

_DISTRICTS: Final = (
    ("1000", "城东区"), ("1000", "城西区"), ("2900", "江北区"), ("2900", "江南区"), ("3310", "湖滨区"),
    ("3010", "钟山路"), ("5810", "越秀街"), ("5840", "南湾区"), ("6510", "锦水区"), ("7910", "雁塔路"),
)  # fmt: skip
"""City digits of the merchant number, and a part of that city."""

_MODELS: Final = (
    ("D1", ("stripe",), 2), ("D2", ("stripe", "contact"), 6), ("M2", ("stripe", "contact", "contactless"), 5),
    ("S3", ("stripe", "contact", "contactless"), 3),
)  # fmt: skip
"""Model, what it reads, share in 16: desk, desk with a chip reader, mobile, smart."""

MODELS_BY_READER: Final = (
    ("D1", ("stripe",)), ("D2", ("stripe", "contact")), ("M2", ("stripe", "contact", "contactless")),
)  # fmt: skip
"""The model where a fleet's shares say what it reads: the stripe alone, contacts too, a field too."""

_STREET: Final = (0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4)
"""Whose the terminals of a street are: five merchants with one to five each."""
_STEP: Final = 389
_SPREAD: Final = 618_033_989
"""Prime to 1,000 and to 10**9: numbers in a row fall far from each other."""

SHOPS_FROM: Final = 10_000_001
MACHINES_FROM: Final = 60_000_001
"""The first terminal number of each."""

_DIRECT_SHARE: Final = 3
"""Of 16 terminals, those of the network's own merchants (直联); the others are their bank's (间联)."""

MACHINE_MCC: Final = "6011"
"""Cash dispensed by a machine."""
_CASSETTES: Final = {"ATM": ((10_000, False), (10_000, False), (5_000, False)),
                     "CRS": ((10_000, True), (10_000, True), (5_000, True), (2_000, False))}  # fmt: skip
"""By model, a cash dispenser or a recycler: denomination (minor units) of each cassette, and whether it recycles."""

TRANSIT_MCC: Final = "4111"
"""Local passenger transport."""
OFFICE: Final = "BO"
"""Model of a back office's terminal at the acquirer: it has no reader, its cards were read by validators."""
_VALIDATORS: Final = ("contactless",)
_ZONES: Final = 3
_LINES_MAX: Final = 40
_FARES: Final = (100, 200, 200, 300)
"""What the first zone of a line costs (minor units); each further zone half as much again."""

_NAMES_FIRST: Final = "和福祥顺兴泰永恒瑞隆"
_NAMES_SECOND: Final = "记源盛安丰华来康达美"
_SERIAL_MAX: Final = 9_999


@dataclass(frozen=True, slots=True)
class Terminal:
    """A POS as its acquirer registered it. `tmk` is its master key (16 bytes), shown by no repr.

    `capabilities` is what it reads: "stripe", "contact", "contactless"; `topology` is "direct" (直联) or "indirect"
    (间联).
    """

    tid: str
    mid: str
    mcc: str
    merchant_name: str
    suite: str
    district: str
    tmk: bytes = field(repr=False)
    model: str = ""
    capabilities: tuple[str, ...] = ("stripe",)
    topology: str = "indirect"


@dataclass(frozen=True, slots=True)
class Validator:
    """A gate on a bus: its number at the operator, the line it runs on and the zone where it begins."""

    tid: str
    line: str
    zone: str
    capabilities: tuple[str, ...] = _VALIDATORS


@dataclass(frozen=True, slots=True)
class Operator:
    """A bus operator: one merchant. `terminals` are its back office's at the acquirer, `validators` its own."""

    mid: str
    name: str
    lists: Lists
    terminals: tuple[Terminal, ...]
    validators: tuple[Validator, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """What the terminals of a fleet are: `sm4_share` of them on SM4, `contact` and `contactless` the shares of 1 that
    read such chips (who reads the second reads the first), None as in a shop of today; `a_merchant` terminals have one
    merchant (0: one to five, three on average)."""

    sm4_share: float = 1 / 3
    contact: float | None = None
    contactless: float | None = None
    a_merchant: int = 0


SHOP: Final = Kind()


def mint(seed: int, count: int, sm4_share: float = 1 / 3) -> list[Terminal]:
    """`count` terminals at merchants of one to five each (three on average), `sm4_share` of them on SM4.

    The first n of a longer fleet are the fleet of n. Raises ValueError for a negative count, a share outside 0..1, and
    where merchant numbers run out (about 680,000 terminals).
    """
    if count < 0 or not 0 <= sm4_share <= 1:
        raise ValueError("a fleet has a count of 0 or more and a share of SM4 between 0 and 1")
    key, kind = fleet_key(seed), Kind(sm4_share)
    return [shop_terminal(key, n, kind) for n in range(count)]


def fleet_key(seed: int) -> bytes:
    """What all of a fleet's terminals are derived from."""
    return hashlib.sha256(b"shoudan fleet %d" % seed).digest()


def shop_terminal(key: bytes, n: int, kind: Kind = SHOP) -> Terminal:
    """The shop terminal of number `n` (from 0), from nothing but the fleet's key: none before it need be made.

    Raises ValueError where merchant numbers run out.
    """
    street, place = divmod(n, len(_STREET))
    mid, mcc, name, district = _merchant(key, n // kind.a_merchant if kind.a_merchant else street * 5 + _STREET[place])
    drawn = hmac.digest(key, b"tmk %d" % n, "sha256")
    suite, tmk = _master_key(drawn, n, kind.sm4_share)
    model, capabilities = _model(drawn[16] % 16)
    if kind.contact is not None:
        model, capabilities = MODELS_BY_READER[_reads(n, kind)]
    topology = "direct" if drawn[17] % 16 < _DIRECT_SHARE else "indirect"
    return Terminal(f"{SHOPS_FROM + n}", mid, mcc, name, suite, district, tmk, model, capabilities, topology)


def _master_key(drawn: bytes, n: int, sm4_share: float) -> tuple[str, bytes]:
    """Suite and master key of terminal `n`, of the bytes drawn for it."""
    if _falls(n, sm4_share):
        return "sm4", drawn[:16]
    return "3des", adjust_parity(drawn[:16])


def _falls(n: int, share: float) -> bool:
    """Spread evenly: of any stretch of the numbers, this share falls."""
    return int((n + 1) * share + 1e-9) > int(n * share + 1e-9)


def _reads(n: int, kind: Kind) -> int:
    """0 for the stripe alone, 1 with contacts, 2 with a field too: each share spread evenly."""
    at = n * _SPREAD % 10**9 / 10**9
    return (at < (kind.contact or 0.0)) + (at < min(kind.contactless or 0.0, kind.contact or 0.0))


def mint_machines(seed: int, count: int, sm4_share: float = 1 / 3) -> list[Terminal]:
    """`count` machines of one bank, every second a recycler, `sm4_share` of them on SM4; numbers of their own.

    Raises ValueError for a negative count or more than 49,990 of them.
    """
    if count < 0:
        raise ValueError("a bank has no machine, or some")
    key, kind = machines_key(seed), Kind(sm4_share)
    return [machine(key, n, kind) for n in range(count)]


def machines_key(seed: int) -> bytes:
    """What all machines are derived from."""
    return hashlib.sha256(b"shoudan machines %d" % seed).digest()


def machine(key: bytes, n: int, kind: Kind = SHOP) -> Terminal:
    """The machine of number `n` (from 0), from nothing but the fleet's key.

    Raises ValueError where merchant numbers run out.
    """
    drawn = hmac.digest(key, b"tmk %d" % n, "sha256")
    suite, tmk = _master_key(drawn, n, kind.sm4_share)
    cycle, place = divmod(n, len(_DISTRICTS))
    mid, district = _number(MACHINE_MCC, cycle, place)
    reads: tuple[str, ...] = ("stripe", "contact", "contactless")
    if kind.contact is not None:
        reads = reads[: 1 + _reads(n, kind)]
    model = ("ATM", "CRS")[n % 2]
    return Terminal(f"{MACHINES_FROM + n}", mid, MACHINE_MCC, f"{district}自助银行", suite, district, tmk, model, reads)


def _number(mcc: str, rank: int, place: int) -> tuple[str, str]:
    """The merchant number of the `rank`-th (from 0) of a trade in a district, and the district."""
    city, district = _DISTRICTS[place]
    # Two districts may be of one city.
    serial = 2 * rank + sum(other == city for other, _ in _DISTRICTS[:place]) + 1
    if serial > _SERIAL_MAX:
        raise ValueError(f"no merchant numbers are left for MCC {mcc} in city {city}")
    return f"{ACQUIRER}{city}{mcc}{serial:04d}", district


def mint_operators(
    seed: int, count: int, validators: int, terminals: int = 2, sm4_share: float = 1 / 3, fare_minor: int = 0
) -> list[Operator]:
    """`count` bus operators with `validators` gates each, and the `terminals` of their back offices at the acquirer.

    Lines and fares by line and zone come from the seed; with `fare_minor` a ride costs that on average, and whole yuan
    everywhere. Raises ValueError for a negative count, or more than 99
    operators, 99 terminals or 9,999 validators of one.
    """
    if not (0 <= count <= 99 and 0 <= terminals <= 99 and 0 <= validators <= _SERIAL_MAX):
        raise ValueError("there are up to 99 operators here, with up to 99 terminals and 9,999 validators each")
    key = hashlib.sha256(b"shoudan operators %d" % seed).digest()
    found: list[Operator] = []
    for n in range(count):
        drawn = hmac.digest(key, b"operator %d" % n, "sha256")
        city, district = _DISTRICTS[drawn[0] % len(_DISTRICTS)]
        mid, name = f"{ACQUIRER}{city}{TRANSIT_MCC}{n + 1:04d}", f"{district}公交公司"
        lines = [str(101 + (drawn[1] * 7 + 3 * line) % 800) for line in range(min(_LINES_MAX, validators // 4 + 1))]
        first = {line: _FARES[drawn[2 + place % 30] % len(_FARES)] for place, line in enumerate(lines)}
        fares = [
            (line, str(zone + 1), minor + zone * minor // 2) for line, minor in first.items() for zone in range(_ZONES)
        ]
        if fare_minor and fares:
            low, dear = fare_minor // 100 * 100, round(fare_minor % 100 / 100 * len(fares)) / len(fares)
            fares = [(line, zone, low + 100 * _falls(at, dear)) for at, (line, zone, _) in enumerate(fares)]
        gates = [
            Validator(f"9{n + 1:02d}{gate + 1:05d}", lines[gate % len(lines)], str(gate // len(lines) % _ZONES + 1))
            for gate in range(validators)
        ]
        office = []
        for place in range(terminals):
            stuff = hmac.digest(key, b"tmk %d %d" % (n, place), "sha256")
            suite, tmk = _master_key(stuff, place, sm4_share)
            tid = f"8{n + 1:02d}{place + 1:05d}"
            office.append(Terminal(tid, mid, TRANSIT_MCC, name, suite, district, tmk, OFFICE, _VALIDATORS))
        found.append(Operator(mid, name, Lists(1, frozenset(), tuple(fares)), tuple(office), tuple(gates)))
    return found


@lru_cache(maxsize=1024)
def _merchant(key: bytes, number: int) -> tuple[str, str, str, str]:
    """The merchant of a number: 1,000 in a row are of all trades by their shares in all districts, so its own serial
    among those of its trade and city follows without counting."""
    cycle, cell = number // 1000, (number * _STEP + key[0]) % 1000
    share, place = divmod(cell, len(_DISTRICTS))
    mcc, trade, part, rank = _trade(share)
    mid, district = _number(mcc, cycle * part + rank, place)
    stuff = hmac.digest(key, b"merchant %d" % number, "sha256")
    name = _NAMES_FIRST[stuff[2] % len(_NAMES_FIRST)] + _NAMES_SECOND[stuff[3] % len(_NAMES_SECOND)]
    return mid, mcc, f"{district}{name}{trade}", district


def _trade(share: int) -> tuple[str, str, int, int]:
    """MCC, word and part of the trade that a share of 100 falls to, and its place in that part."""
    for mcc, word, part in _TRADES:
        if share < part:
            return mcc, word, part, share
        share -= part
    raise ValueError("a share is below 100")


def _model(share: int) -> tuple[str, tuple[str, ...]]:
    for model, capabilities, part in _MODELS:
        if share < part:
            return model, capabilities
        share -= part
    return _MODELS[0][:2]


def memory_of(terminal: Terminal) -> Memory:
    """A terminal out of the box: its master key in the PIN pad, nothing in its books, a machine's cassettes empty."""
    pinpad = PinPad(terminal.suite, terminal.tmk)
    if terminal.model in _CASSETTES:
        vault = Vault([Cassette(minor, recycles=recycles) for minor, recycles in _CASSETTES[terminal.model]])
        return AtmMemory(terminal.tid, terminal.mid, terminal.mcc, terminal.merchant_name, pinpad, vault)
    kind = OfficeMemory if terminal.model == OFFICE else Memory
    return kind(terminal.tid, terminal.mid, terminal.mcc, terminal.merchant_name, pinpad)


def validator_of(operator: Operator, validator: Validator) -> ValidatorMemory:
    """A validator out of the box, with its operator's lists."""
    return ValidatorMemory(validator.tid, operator.mid, operator.name, validator.line, validator.zone, operator.lists)
