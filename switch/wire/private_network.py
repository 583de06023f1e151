"""Private fields of the network's link: DE28, 48, 57, 60, 61, 63, 90, 104, 121, 122, 123.

See docs/protocol-network.md sections 3 and 5, docs/security.md section 7. DE54 and DE63 `SM` are shared with the
terminal's link and live in `private`.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from switch.wire.errors import DecodeError, EncodeError
from switch.wire.private import (
    DeviceInfo,
    Usage,
    is_digits,
    join_cut,
    need_digits,
    put_digits,
    put_text,
    read_device_info,
    read_usages,
    split_cut,
    write_device_info,
    write_usages,
)


class Fee(NamedTuple):
    """DE28: sign C (to the holder) or D, and minor units."""

    sign: str
    amount_minor: int


def read_28(value: str) -> Fee:
    """DE28: sign and n8."""
    if len(value) != 9 or value[0] not in "CD":
        raise DecodeError(28, 0, "not a sign C or D and eight digits")
    return Fee(value[0], int(need_digits(28, value[1:], "fee", 1)))


def write_28(x: Fee) -> str:
    """Inverse of read_28."""
    if x.sign not in ("C", "D"):
        raise EncodeError(28, "sign is neither C nor D")
    return x.sign + put_digits(28, x.amount_minor, 8, "fee")


NEW_KEY_SIZE: Final = 16


def read_new_key(value: bytes) -> bytes:
    """DE48 of a key reset: `NK` and 16 bytes, the double-length key under the member master key."""
    if value[:2] != b"NK" or len(value) != 2 + NEW_KEY_SIZE:
        raise DecodeError(48, 0, f"not NK and {NEW_KEY_SIZE} bytes")
    return value[2:]


def write_new_key(wrapped: bytes) -> bytes:
    """Inverse of read_new_key."""
    if len(wrapped) != NEW_KEY_SIZE:
        raise EncodeError(48, f"new key of {len(wrapped)} bytes, not {NEW_KEY_SIZE}")
    return b"NK" + wrapped


_AS: Final = b"AS"


def read_48_usages(value: bytes) -> tuple[Usage, ...]:
    """DE48: `AS`, then usages of tag 2, length n3, data."""
    if value[:2] != _AS:
        raise DecodeError(48, 0, "does not begin with AS")
    return read_usages(48, value[2:])


def write_48_usages(usages: Iterable[Usage]) -> bytes:
    """Inverse of read_48_usages."""
    return _AS + write_usages(48, usages)


def read_original_amount(value: bytes) -> int:
    """DE48 of a refund: usage OA, the original amount in minor units (`ASOA012` and n12)."""
    for tag, data in read_48_usages(value):
        if tag == "OA":
            if len(data) != 12 or not data.isdigit():
                raise DecodeError(48, 7, "original amount is not twelve digits")
            return int(data)
    raise DecodeError(48, 2, "no usage OA")


def write_original_amount(amount_minor: int) -> bytes:
    """DE48 of a refund."""
    return write_48_usages((Usage("OA", put_digits(48, amount_minor, 12, "original amount").encode("ascii")),))


class Texts(NamedTuple):
    """DE57 `AB`: texts of issuer and network, 20 bytes of GBK each."""

    issuer: str
    network: str


def read_57_texts(value: str) -> Texts:
    """DE57: `AB`, issuer text 20, network text 20 (bytes of GBK, spaces on the right)."""
    try:
        data = value.encode("gbk")
    except UnicodeEncodeError:
        raise DecodeError(57, 0, "not GBK text") from None
    if data[:2] != b"AB" or len(data) != 42:
        raise DecodeError(57, 0, "not AB and two texts of 20 bytes")
    try:
        return Texts(data[2:22].decode("gbk").rstrip(" "), data[22:].decode("gbk").rstrip(" "))
    except UnicodeDecodeError:
        raise DecodeError(57, 22, "a character lies across two texts") from None


def write_57_texts(x: Texts) -> str:
    """Inverse of read_57_texts."""
    out = b"AB"
    for text in x:
        try:
            data = text.encode("gbk")
        except UnicodeEncodeError:
            raise EncodeError(57, "not GBK text") from None
        if len(data) > 20:
            raise EncodeError(57, "text longer than 20 bytes")
        out += data.ljust(20)
    return out.decode("gbk")


def read_57_usages(value: str) -> tuple[Usage, ...]:
    """DE57: `AS` and usages; AR holds a three-digit reason behind the response code."""
    try:
        data = value.encode("gbk")
    except UnicodeEncodeError:
        raise DecodeError(57, 0, "not GBK text") from None
    if data[:2] != _AS:
        raise DecodeError(57, 0, "does not begin with AS")
    return read_usages(57, data[2:])


def write_57_usages(usages: Iterable[Usage]) -> str:
    """Inverse of read_57_usages."""
    try:
        return (_AS + write_usages(57, usages)).decode("gbk")
    except UnicodeDecodeError:
        raise EncodeError(57, "not GBK text") from None


class De60(NamedTuple):
    """DE60 of the network's link: 60.1 reason, 60.2.1-9 acceptance, 60.3.1-10 clearing; cut from the right.

    `reserved_3` is 60.3.3, whose third digit names the MAC algorithm (4 is SM4).
    """

    reason: str
    account_owner: str = ""
    read_capability: str = ""
    icc_condition: str = ""
    reserved_2: str = ""
    terminal_type: str = ""
    no_pin: str = ""
    icc_reliability: str = ""
    eci: str = ""
    interaction: str = ""
    billing_type: str = ""
    level: str = ""
    reserved_3: str = ""
    partial: str = ""
    initiation: str = ""
    medium: str = ""
    icc_application: str = ""
    settlement_type: str = ""
    grade: str = ""
    product: str = ""
    rest: str = ""


_WIDTHS_60: Final = (4, 1, 1, 1, 1, 2, 1, 1, 2, 1, 2, 1, 3, 1, 1, 1, 1, 2, 1, 2, 70)


def read_60(value: str) -> De60:
    """DE60: 4 to 100 characters, 15 without 60.3, 23 up to the initiation mode, 30 whole."""
    return De60(*split_cut(60, value, _WIDTHS_60, 4))


def write_60(x: De60, size: int | None = None) -> str:
    """DE60 of sub-fields; with `size` (4 to 30), missing ones become zeros and the field is cut to that length."""
    parts = x
    if size is not None:
        if not 4 <= size <= 30 or x.rest:
            raise EncodeError(60, f"size {size} is not within 4 and 30, or there is a rest")
        parts = De60(*(part or "0" * width for part, width in zip(x[:-1], _WIDTHS_60[:-1], strict=True)))
    text = join_cut(60, parts, _WIDTHS_60)
    if len(text) < 4:
        raise EncodeError(60, "shorter than 4 characters")
    return text[:size]


class De61(NamedTuple):
    """DE61 of the network's link, the holder's identity: certificate type and number, results of CVN, PVV, card-absent
    and ARQC checks, then security information (usage AM, AR or CR and its data)."""

    id_type: str
    id_number: str
    cvn_result: str = ""
    pvv_result: str = ""
    centre_flag: str = ""
    absent_value: str = ""
    absent_result: str = ""
    arqc_result: str = ""
    security: str = ""

    def __repr__(self) -> str:
        return f"De61({self.id_type}, {'*' * len(self.id_number)}, ...)"


_WIDTHS_61: Final = (2, 20, 1, 1, 3, 3, 1, 1, 168)


def read_61(value: str) -> De61:
    """DE61: 22 to 200 characters, cut from the right; values keep their spaces."""
    return De61(*split_cut(61, value, _WIDTHS_61, 22))


def write_61(x: De61) -> str:
    """Inverse of read_61; a short certificate number is filled with spaces."""
    filled = x._replace(id_number=put_text(61, x.id_number, 20, "certificate number"))
    return join_cut(61, filled, _WIDTHS_61)


def read_63(value: bytes) -> tuple[Usage, ...]:
    """DE63: usages (SM an SM4 PIN block, TK token data)."""
    return read_usages(63, value)


def write_63(usages: Iterable[Usage]) -> bytes:
    """Inverse of read_63."""
    return write_usages(63, usages)


class OriginalData(NamedTuple):
    """DE90: MTI, STAN (DE11), time (DE7), acquirer (DE32) and forwarder (DE33) of the original.

    The institutions have 11 digits, zeros in front; `write_90` fills shorter ones.
    """

    mti: str
    stan: str
    time: str
    acquirer: str
    forwarder: str


_WIDTHS_90: Final = (4, 6, 10, 11, 11)


def read_90(value: str) -> OriginalData:
    """DE90: 42 digits."""
    if len(value) != 42:
        raise DecodeError(90, len(value), f"{len(value)} digits, 42 wanted")
    return OriginalData(*split_cut(90, need_digits(90, value, "DE90"), _WIDTHS_90))


def write_90(x: OriginalData) -> str:
    """Inverse of read_90."""
    names = ("MTI", "STAN", "time", "acquirer", "forwarder")
    return "".join(put_digits(90, *row) for row in zip(x, _WIDTHS_90, names, strict=True))


def read_104(value: str) -> DeviceInfo:
    """DE104: `PI` device block."""
    if not value.startswith("PI"):
        raise DecodeError(104, 0, "does not begin with PI")
    return read_device_info(104, value)


def write_104(info: DeviceInfo) -> str:
    """Inverse of read_104."""
    return write_device_info(104, info, "PI")


class De121(NamedTuple):
    """DE121, the network's own: reason code, single/dual conversion, card nature, 40 reserved characters, then `tail`:
    `ID` with the institutions out and in (8 each), or `FD` with a fee of 36 characters."""

    reason: str
    conversion: str = ""
    nature: str = ""
    reserved: str = ""
    tail: str = ""

    @property
    def institutions(self) -> tuple[str, str] | None:
        """Out and in institution of an `ID` tail."""
        return (self.tail[2:10], self.tail[10:18]) if self.tail.startswith("ID") and len(self.tail) >= 18 else None

    @property
    def fee(self) -> str:
        """The fee of an `FD` tail, "" without one."""
        return self.tail[2:38] if self.tail.startswith("FD") else ""


_WIDTHS_121: Final = (1, 1, 1, 40, 57)


def read_121(value: str) -> De121:
    """DE121: 1 to 100 characters, cut from the right."""
    return De121(*split_cut(121, value, _WIDTHS_121))


def write_121(x: De121) -> str:
    """Inverse of read_121."""
    return join_cut(121, x, _WIDTHS_121)


class De122(NamedTuple):
    """DE122, the acquirer's own, echoed by the issuer: merchant rate 6, then acquirer information."""

    rate: str
    info: str = ""


def read_122(value: str) -> De122:
    """DE122: 1 to 100 characters."""
    return De122(*split_cut(122, value, (6, 94)))


def write_122(x: De122) -> str:
    """Inverse of read_122; a short rate before information is filled with spaces."""
    return join_cut(122, (x.rate.ljust(6) if x.info else x.rate, x.info), (6, 94))


class De123(NamedTuple):
    """DE123, the issuer's own, handed to the acquirer as it is."""

    info: str


def read_123(value: str) -> De123:
    """DE123: 1 to 999 characters."""
    return De123(*split_cut(123, value, (999,)))


def write_123(x: De123) -> str:
    """Inverse of read_123."""
    return join_cut(123, x, (999,))


class KeyResetControl(NamedTuple):
    """DE53 of a key reset: which key (1 PIN, 2 MAC), and its algorithm digit (0 single, 6 double length, 4 SM4)."""

    key: str
    algorithm: str


def read_53_reset(value: str) -> KeyResetControl:
    """DE53 of 0800 or 0820 with DE70 101: 16 digits."""
    if len(value) != 16 or not is_digits(value) or value[0] not in "12":
        raise DecodeError(53, 0, "not 16 digits that begin with 1 or 2")
    if value[2:].strip("0"):
        raise DecodeError(53, 2, "digits 3 to 16 are not zeros")
    return KeyResetControl(value[0], value[1])


def write_53_reset(x: KeyResetControl) -> str:
    """Inverse of read_53_reset."""
    if x.key not in ("1", "2"):
        raise EncodeError(53, "key is neither 1 nor 2")
    return x.key + put_digits(53, x.algorithm, 1, "algorithm") + "0" * 14
