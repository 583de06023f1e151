"""One transaction with one chip: what the terminal is, what it is asked to do, what has come out so far.

The values of a transaction are a mapping from tag to bytes; TVR and TSI are integers until a list asks for them.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from switch.crypto.oda import KeyRing, PublicKey
from switch.wire import apdu
from switch.wire.errors import ApduError
from terminals.flow import Apdu, Flow
from terminals.kernel.parameters import Aid, Parameters

CONTACT: Final = "contact"
CONTACTLESS: Final = "contactless"

Outcome = Literal["online", "approved", "declined", "try_other_interface", "fallback", "ended"]
Cvm = Literal["none", "online_pin", "offline_pin", "signature", "cdcvm"]

REASONS: Final = {
    "": ("", ""),
    "card_blocked": ("卡片已锁定", "card is blocked"),
    "application_blocked": ("应用已锁定", "application is blocked"),
    "no_application": ("没有共同支持的应用", "no application in common"),
    "not_chosen": ("持卡人未选择应用", "holder chose no application"),
    "unreadable": ("芯片无法读取", "chip cannot be read"),
    "status": ("卡片返回意外的状态字", "card answered an unexpected status word"),
    "data": ("卡片数据格式错误", "card data are malformed"),
    "missing": ("必备数据缺失", "mandatory data are missing"),
    "repeated": ("数据元重复", "a data element came twice"),
    "account_differs": ("磁道2等效数据与主账号不一致", "track 2 equivalent data differ from the PAN"),
    "card_removed": ("卡片已移开", "card was removed"),
    "other_card": ("不是同一张卡", "not the same card"),
    "cancelled": ("已取消", "cancelled"),
    "limit": ("金额超过非接触交易限额", "amount exceeds the contactless limit"),
    "contact_only": ("请使用接触式界面", "use the contacts"),
    "terminal_declined": ("终端拒绝", "declined by the terminal's action analysis"),
    "card_declined": ("卡片拒绝", "declined by the card"),
    "cryptogram": ("卡片返回了高于请求的密文", "card answered a higher cryptogram than asked for"),
    "oda_failed": ("脱机数据认证失败", "offline data authentication failed"),
    "expired": ("卡片已过期", "card has expired"),
    "exception_file": ("卡片在异常文件中", "card is on the exception file"),
    "too_soon": ("同一张卡间隔太短", "the same card again too soon"),
    "host_declined": ("主机拒绝", "declined by the host"),
    "unable_online": ("无法联机", "unable to go online"),
    "script_failed": ("圈存脚本失败", "load script failed"),
}
"""Why a transaction came out as it did, in Chinese and English."""


class Ended(Exception):
    """A step that ends the transaction; caught where the flow began, never outside the kernel."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class Request(NamedTuple):
    """What the terminal is asked to do. Amounts in minor units, date YYMMDD, time HHMMSS, currency and country four
    digits.

    `e_cash`: take electronic cash where the card offers it. `enrolled` and `small_bins`: the merchant takes part in
    small contactless sales without PIN (小额双免), and the card numbers' first digits that do, up to `small_max`;
    `never_small` those that do not all the same.
    `holder` is what an Ask for the PIN is about; None: what was read of the card. `keep` is given the Session of a card
    in the field that has given its TC and is about to pay: whatever happens then, the certificate is written down.
    """

    amount_minor: int
    date: str
    time: str
    other_minor: int = 0
    type_9c: int = 0x00
    currency: str = "0156"
    country: str = "0156"
    merchant_name: str = ""
    sequence: int = 1
    force_online: bool = False
    e_cash: bool = True
    enrolled: bool = False
    small_max: int = 100_000
    small_bins: Container[str] = ()
    never_small: Container[str] = ()
    holder: Any = None
    keep: Callable[[Any], None] | None = None


SALE: Final = 0x00
CASH: Final = 0x01
CASHBACK: Final = 0x09
LOADS: Final = (0x60, 0x62, 0x63)
"""9C: the loads, from the linked account, from another, in cash."""


class Kernel:
    """A terminal as its chip kernel sees it; made once, shared by its transactions. `parameters` may be replaced.

    `capabilities` 9F33, `terminal_type` 9F35 (14 to 16 are cash machines), `additional` 9F40, `ttq` 9F66 without what a
    transaction decides. `entropy(n)` gives n random bytes. `exceptions` holds "PAN-PSN" of cards to be refused.
    `spent(pan)` is what the terminal's log holds of the same card today, minor units. `sm`: speaks SM2/3/4.
    `cda_mode` 1 to 4 as EMV counts them: 1 asks a signature with every cryptogram, 3 only offline.
    `before_paying` is asked about a card in the field that has given its TC and not yet paid: a key of REASONS refuses
    it, and it keeps its money; "" lets it pay.
    """

    __slots__ = (
        "atm", "before_paying", "capabilities", "cda_mode", "entropy", "exceptions", "fixed", "offline_capable",
        "online_capable", "parameters", "ring", "sm", "spent", "ttq", "unattended",
    )  # fmt: skip

    def __init__(
        self,
        parameters: Parameters,
        entropy: Callable[[int], bytes],
        *,
        capabilities: str = "E0F9C8",
        terminal_type: int = 22,
        additional: str = "FF80F0B001",
        ttq: str = "36000080",
        serial: str = "00000001",
        sm: bool = True,
        exceptions: Container[str] = (),
        spent: Callable[[str], int] | None = None,
        cda_mode: int = 1,
        ring: KeyRing | None = None,
    ) -> None:
        self.parameters = parameters
        self.entropy = entropy
        self.capabilities = int(capabilities, 16)
        self.atm = terminal_type in (14, 15, 16)
        self.unattended = terminal_type % 10 in (4, 5, 6)
        self.online_capable = terminal_type % 10 not in (3, 6)
        self.offline_capable = terminal_type % 10 not in (1, 4)
        self.ttq = int(ttq, 16)
        self.sm = sm
        self.exceptions = exceptions
        self.spent = spent
        self.cda_mode = cda_mode
        self.ring = KeyRing() if ring is None else ring
        self.before_paying: Callable[[Session], str] | None = None
        self.fixed: dict[str, bytes] = {
            "9F33": bytes.fromhex(capabilities),
            "9F35": bytes.fromhex(f"{terminal_type:02d}"),
            "9F40": bytes.fromhex(additional),
            "9F1E": serial.encode("ascii")[:8].ljust(8),
            "DF69": b"\x01" if sm else b"\x00",
            "95": bytes(5),
            "9B": bytes(2),
        }


@dataclass(slots=True)
class Presented:
    """What came of a card at the terminal before any host was asked. `reason` is a key of REASONS.

    `pan` digits, `psn` two digits or "", `expiry` YYMM, `track2` as tag 57 has it (separator D). `pin`: digits entered
    for `cvm` online_pin, "" when refused. `no_pin`: a small sale freed of PIN and signature. `icc_data` is DE55; `tvr`,
    `tsi` and `cvm_results` as integers of 5, 2 and 3 bytes. `balance_minor` where the card told its electronic cash.
    `session` is what `contact.complete` goes on with, None when there is nothing to complete.
    """

    outcome: Outcome
    reason: str
    interface: str
    pan: str = field(default="", repr=False)
    psn: str = ""
    expiry: str = field(default="", repr=False)
    track2: str = field(default="", repr=False)
    cvm: Cvm = "none"
    pin: str = field(default="", repr=False)
    no_pin: bool = False
    signature: bool = False
    icc_data: bytes = field(default=b"", repr=False)
    values: dict[str, bytes] = field(default_factory=dict, repr=False)
    tvr: int = 0
    tsi: int = 0
    cvm_results: int = 0
    e_cash: bool = False
    balance_minor: int | None = None
    atc: int = 0
    aid: bytes = b""
    label: str = ""
    torn: int = 0
    session: "Session | None" = field(default=None, repr=False)


class Face(NamedTuple):
    """What was read of a card: what an Ask is about where the request does not say."""

    pan: str
    expiry: str
    track2: str

    def __repr__(self) -> str:
        return "Face()"


@lru_cache(maxsize=4096)  # a terminal has one name (0.7 us)
def _merchant(name: str) -> bytes:
    return name.encode("gbk", "replace")[:20].ljust(20, b"\x00")


@lru_cache(maxsize=256)  # alike for all terminals of a process while a second lasts (0.5 us)
def _setting(date: str, time: str, country: str, currency: str, other_minor: int, type_9c: int) -> dict[str, bytes]:
    """Elements that do not tell one transaction from the next."""
    return {
        "9A": bytes.fromhex(date),
        "9F21": bytes.fromhex(time),
        "9F1A": bytes.fromhex(country),
        "5F2A": bytes.fromhex(currency),
        "9F03": bytes.fromhex(f"{other_minor:012d}"),
        "9C": bytes((type_9c,)),
    }


class Session:
    """A transaction under way. `values` holds every element known so far, from card and terminal."""

    __slots__ = (
        "afl", "aid", "aip", "balance_minor", "cda", "cdol1_values", "cid", "cvm", "cvm_results", "e_cash", "icc_key",
        "interface", "kernel", "label", "name", "no_pin", "pan", "pdol_values", "pin", "proven", "reason", "refused",
        "request", "signature", "signed", "torn", "tsi", "tvr", "values",
    )  # fmt: skip

    def __init__(self, kernel: Kernel, request: Request, interface: str) -> None:
        self.kernel = kernel
        self.request = request
        self.interface = interface
        self.values = values = kernel.fixed | _setting(
            request.date, request.time, request.country, request.currency, request.other_minor, request.type_9c
        )
        values["9F02"] = bytes.fromhex(f"{request.amount_minor:012d}")
        values["9F37"] = kernel.entropy(4)
        values["9F41"] = bytes.fromhex(f"{request.sequence:08d}")
        values["9F4E"] = _merchant(request.merchant_name)
        self.tvr = self.tsi = 0
        self.cvm: Cvm = "none"
        self.cvm_results = 0x3F0000
        self.pan = self.pin = self.reason = self.label = ""
        self.refused = "no_application"  # why none of the applications could be opened
        self.name = self.pdol_values = self.cdol1_values = self.afl = self.signed = b""
        self.aid: Aid | None = None
        self.aip = self.cid = self.torn = 0
        self.e_cash = self.cda = self.no_pin = self.signature = self.proven = False
        self.icc_key: PublicKey | None = None
        self.balance_minor: int | None = None

    @property
    def face(self) -> Any:
        """What an Ask about this card says: the request's holder, or what was read."""
        if self.request.holder is not None:
            return self.request.holder
        return Face(self.pan, self.expiry, self.track2)

    @property
    def expiry(self) -> str:
        """YYMM, "" while unknown."""
        return self._expiry(self.track2)

    def _expiry(self, track2: str) -> str:
        return self.values["5F24"].hex()[:4] if "5F24" in self.values else track2.partition("D")[2][:4]

    @property
    def track2(self) -> str:
        """Tag 57 as digits with its D, without padding; "" while unknown."""
        return self.values.get("57", b"").hex().upper().rstrip("F")

    def stamp(self) -> None:
        """Put TVR, TSI and CVM results where lists find them."""
        self.values["95"] = self.tvr.to_bytes(5, "big")
        self.values["9B"] = self.tsi.to_bytes(2, "big")
        self.values["9F34"] = self.cvm_results.to_bytes(3, "big")

    def presented(self, outcome: Outcome, reason: str, icc_data: bytes = b"") -> Presented:
        """What the terminal is told; only an online or an offline decision can be gone on with."""
        values, track2 = self.values, self.track2
        return Presented(
            outcome, reason, self.interface, self.pan, values["5F34"].hex() if "5F34" in values else "",
            self._expiry(track2), track2, self.cvm, self.pin, self.no_pin, self.signature, icc_data, values, self.tvr,
            self.tsi, self.cvm_results, self.e_cash, self.balance_minor, int.from_bytes(values.get("9F36", b""), "big"),
            self.name, self.label, self.torn, self if outcome == "online" and self.interface == CONTACT else None,
        )  # fmt: skip


def exchange(command: bytes) -> Flow[tuple[bytes, int]]:
    """Send a command; data and status word of its response, with GET RESPONSE and the right Le where asked for (T=0).

    Raises ApduError for a response without status word, CardRemoved.
    """
    response = yield Apdu(command)
    if response[-2:] == b"\x90\x00":
        return response[:-2], 0x9000
    data = b""
    for _ in range(4):
        part, sw = apdu.split(response)
        data += part
        if sw >> 8 == 0x61:
            response = yield Apdu(bytes((0x00, 0xC0, 0x00, 0x00, sw & 0xFF)))
        elif sw >> 8 == 0x6C:
            response = yield Apdu(command[:-1] + bytes((sw & 0xFF,)))
        else:
            return data, sw
    raise ApduError("response", None, "the card keeps announcing more")
