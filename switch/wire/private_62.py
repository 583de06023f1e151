"""DE62 of the terminal's link: sign-in keys, terminal information, parameters, key and AID lists, notices, identities.

What DE62 holds depends on MTI, DE3 and DE60; the caller knows which reader to ask. The layout of the sign-in keys is
data, as acquirers differ: `KEY_LAYOUTS` has the known ones, a link's profile may bring its own.
See docs/protocol-pos.md section 5, docs/security.md section 2.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from switch.wire import tlv
from switch.wire.errors import DecodeError, EncodeError, TlvError
from switch.wire.private import ascii_text, is_digits, need_digits, put_digits, put_text
from switch.wire.redact import mask_pan

KeyField: TypeAlias = tuple[str, int, int, int]
"""One key of a layout: its name, and the bytes of its ciphertext, of zero fill and of its check value."""

KeyLayout: TypeAlias = Sequence[KeyField]

KEY_LAYOUTS: Final[Mapping[str, KeyLayout]] = MappingProxyType(
    {
        "des": (("pik", 8, 0, 4), ("mak", 8, 0, 4)),
        "3des": (("pik", 16, 0, 4), ("mak", 8, 8, 4)),
        "3des-mak16": (("pik", 16, 0, 4), ("mak", 16, 0, 4)),
        "3des-tdk": (("pik", 16, 0, 4), ("mak", 8, 8, 4), ("tdk", 16, 0, 4)),
        "sm4": (("pik", 16, 0, 4), ("mak", 16, 0, 4), ("tdk", 16, 0, 4)),
    }
)
"""24, 40, 40, 60 and 60 bytes."""


class WrappedKey(NamedTuple):
    """A working key under the terminal master key, and its check value."""

    name: str
    wrapped: bytes
    kcv: bytes

    def __repr__(self) -> str:
        return f"WrappedKey({self.name}, {len(self.wrapped)} bytes, kcv {self.kcv.hex().upper()})"


def layout_size(layout: KeyLayout) -> int:
    """Bytes that DE62 has under a layout."""
    return sum(key + pad + kcv for _, key, pad, kcv in layout)


def read_keys(value: bytes, layout: KeyLayout) -> tuple[WrappedKey, ...]:
    """The keys of a sign-in reply. Raises DecodeError if the length differs or the fill is not zeros."""
    if len(value) != layout_size(layout):
        raise DecodeError(62, len(value), f"{len(value)} bytes of keys, the layout has {layout_size(layout)}")
    at, out = 0, []
    for name, key, pad, kcv in layout:
        if any(value[at + key : at + key + pad]):
            raise DecodeError(62, at + key, f"fill after key {name} is not zeros")
        check = at + key + pad
        out.append(WrappedKey(name, value[at : at + key], value[check : check + kcv]))
        at = check + kcv
    return tuple(out)


def write_keys(keys: Sequence[WrappedKey], layout: KeyLayout) -> bytes:
    """DE62 of a sign-in reply. Raises EncodeError unless names and sizes are those of the layout."""
    if tuple(key.name for key in keys) != tuple(name for name, *_ in layout):
        raise EncodeError(62, "keys are not those of the layout")
    out = []
    for (name, wrapped, check), (_, key, pad, kcv) in zip(keys, layout, strict=True):
        if len(wrapped) != key or len(check) != kcv:
            raise EncodeError(62, f"key {name} or its check value has the wrong size")
        out.append(wrapped + bytes(pad) + check)
    return b"".join(out)


_SEQUENCE: Final = b"Sequence No"


def read_sequence_no(value: bytes) -> str:
    """Terminal information of a sign-in request: `Sequence No`, length n2, vendor or licence id and serial number."""
    if not value.startswith(_SEQUENCE):
        raise DecodeError(62, 0, "does not begin with Sequence No")
    text = ascii_text(62, value[len(_SEQUENCE) :])
    if int(need_digits(62, text[:2], "length", len(_SEQUENCE))) != len(text) - 2:
        raise DecodeError(62, len(_SEQUENCE), f"length differs from the {max(0, len(text) - 2)} characters that follow")
    return text[2:]


def write_sequence_no(serial: str) -> bytes:
    """DE62 of a sign-in request; `serial` is vendor id and serial number in one, at most 99 characters."""
    if not serial.isascii() or not serial.isprintable() or len(serial) > 99:
        raise EncodeError(62, "serial number is not ASCII or longer than 99 characters")
    return _SEQUENCE + f"{len(serial):02d}{serial}".encode("ascii")


PARAMETER_WIDTHS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "01": 1, "02": 1, "03": 1, "04": 1, "05": 1, "11": 2, "12": 2, "13": 1, "14": 14, "15": 14, "16": 14, "17": 14,
        "18": 1, "19": 2, "20": 1, "21": 1, "22": 40, "23": 1, "24": 1, "25": 1, "26": 0,
    }
)  # fmt: skip
"""Bytes of each terminal parameter: 01-05 device states, 11 application, 12 timeout s, 13 retries, 14-17 telephones,
18 tips, 19 tip percent, 20 keyed cards, 21 automatic sign-off, 22 merchant name (GBK), 23 reversals, 24 offline upload
mode, 25 master key index, 26 supported transactions (0: to the end of the field)."""


def read_parameters(value: bytes, widths: Mapping[str, int] = PARAMETER_WIDTHS) -> tuple[tuple[str, str], ...]:
    """Terminal status (0820/362) or parameters (0810/360): code 2 and value, repeated."""
    at, out = 0, []
    while at < len(value):
        code = value[at : at + 2].decode("latin-1")
        width = widths.get(code)
        if width is None:
            raise DecodeError(62, at, "unknown parameter code")
        stop = at + 2 + width if width else len(value)
        if stop > len(value):
            raise DecodeError(62, at + 2, f"parameter {code} breaks off")
        try:
            out.append((code, value[at + 2 : stop].decode("gbk")))
        except UnicodeDecodeError:
            raise DecodeError(62, at + 2, f"parameter {code} is not text") from None
        at = stop
    return tuple(out)


def write_parameters(items: Sequence[tuple[str, str]], widths: Mapping[str, int] = PARAMETER_WIDTHS) -> bytes:
    """Inverse of read_parameters; a value shorter than its parameter is filled with spaces."""
    out = []
    for code, text in items:
        width = widths.get(code)
        if width is None:
            raise EncodeError(62, "unknown parameter code")
        try:
            data = text.encode("gbk")
        except UnicodeEncodeError:
            raise EncodeError(62, f"parameter {code} is not GBK text") from None
        if width and len(data) > width:
            raise EncodeError(62, f"parameter {code} is longer than {width} bytes")
        out.append(code.encode("ascii") + data.ljust(width))
    return b"".join(out)


def read_list_query(value: bytes) -> int:
    """Query of the key or AID list: `1` and n2, how many entries the terminal has already."""
    if len(value) != 3 or value[:1] != b"1" or not value.isdigit():
        raise DecodeError(62, 0, "not 1 and two digits")
    return int(value[1:])


def write_list_query(received: int) -> bytes:
    """Inverse of read_list_query."""
    return b"1" + put_digits(62, received, 2, "number of entries").encode("ascii")


class Listing(NamedTuple):
    """Reply to a list query or download: status (0 none, 1 complete, 2 more follow, 3 no more), then BER-TLV."""

    status: str
    items: tuple[tuple[str, bytes], ...]


def read_listing(value: bytes) -> Listing:
    """Key or AID list (9F06, 9F22, DF05 repeated) or one downloaded record; a query without status has status ""."""
    status = value[:1].decode("latin-1")
    if status not in ("0", "1", "2", "3"):
        status = ""
    body = value[len(status) :]
    try:
        return Listing(status, tuple(tlv.read(body)))
    except TlvError as error:
        raise DecodeError(62, (error.offset or 0) + len(status), error.reason) from None


def write_listing(x: Listing) -> bytes:
    """Inverse of read_listing."""
    if x.status not in ("", "0", "1", "2", "3"):
        raise EncodeError(62, "status is not 0 to 3")
    try:
        return x.status.encode("ascii") + tlv.write(x.items)
    except TlvError as error:
        raise EncodeError(62, error.reason) from None


class ChipDetail(NamedTuple):
    """Usage 6, a chip transaction in the batch upload (0320/203, 205): card class, response, amount, currency."""

    card_class: str
    response: str
    amount_minor: int
    currency: str


class ChipNotice(NamedTuple):
    """Usage 7, a chip notice (0320/204, 206): reason 05, 11 or 13; cryptogram 1 AAC, 2 ARPC; ARPC result 0 or 2."""

    card_class: str
    reason: str
    amount_minor: int
    currency: str
    cryptogram: str
    arpc_result: str


def _usage_text(value: bytes, usage: str, size: int) -> str:
    text = ascii_text(62, value)
    if len(text) != size or not text.startswith(usage):
        raise DecodeError(62, 0, f"not usage {usage} of {size} characters")
    return need_digits(62, text, f"usage {usage}")


def read_chip_detail(value: bytes) -> ChipDetail:
    """21 characters: `61`, card class 2, response 2, amount 12, currency 3."""
    text = _usage_text(value, "61", 21)
    return ChipDetail(text[2:4], text[4:6], int(text[6:18]), text[18:])


def write_chip_detail(x: ChipDetail) -> bytes:
    """Inverse of read_chip_detail."""
    head = put_digits(62, x.card_class, 2, "card class") + put_digits(62, x.response, 2, "response")
    tail = put_digits(62, x.amount_minor, 12, "amount") + put_digits(62, x.currency, 3, "currency")
    return f"61{head}{tail}".encode("ascii")


def read_chip_notice(value: bytes) -> ChipNotice:
    """23 characters: `71`, card class 2, reason 2, amount 12, currency 3, cryptogram 1, ARPC result 1."""
    text = _usage_text(value, "71", 23)
    return ChipNotice(text[2:4], text[4:6], int(text[6:18]), text[18:21], text[21], text[22])


def write_chip_notice(x: ChipNotice) -> bytes:
    """Inverse of read_chip_notice."""
    head = put_digits(62, x.card_class, 2, "card class") + put_digits(62, x.reason, 2, "reason")
    tail = put_digits(62, x.amount_minor, 12, "amount") + put_digits(62, x.currency, 3, "currency")
    end = put_digits(62, x.cryptogram, 1, "cryptogram") + put_digits(62, x.arpc_result, 1, "ARPC result")
    return f"71{head}{tail}{end}".encode("ascii")


def read_transfer_pan(value: bytes) -> str:
    """The card that receives a load or transfer: 13 to 19 ASCII digits."""
    if not 13 <= len(value) <= 19 or not value.isdigit():
        raise DecodeError(62, 0, "not a card number of 13 to 19 digits")
    return value.decode("ascii")


def write_transfer_pan(pan: str) -> bytes:
    """Inverse of read_transfer_pan."""
    if not 13 <= len(pan) <= 19 or not is_digits(pan):
        raise EncodeError(62, "not a card number of 13 to 19 digits")
    return pan.encode("ascii")


class Identity(NamedTuple):
    """Cardholder identity: certificate type 2 (01 identity card...; 90 and 91 stand before reservation data)."""

    kind: str
    number: str

    def __repr__(self) -> str:
        return f"Identity({self.kind}, {mask_pan(self.number)})"


def read_identity(value: bytes) -> Identity:
    """22 characters: certificate type 2, number 20 (spaces on the right)."""
    text = ascii_text(62, value)
    if len(text) != 22:
        raise DecodeError(62, 0, f"identity of {len(text)} characters, 22 wanted")
    return Identity(need_digits(62, text[:2], "certificate type"), text[2:].rstrip(" "))


def write_identity(x: Identity) -> bytes:
    """Inverse of read_identity."""
    text = put_digits(62, x.kind, 2, "certificate type") + put_text(62, x.number, 20, "certificate number")
    if not text.isascii():
        raise EncodeError(62, "certificate number is not ASCII")
    return text.encode("ascii")


class Instalment(NamedTuple):
    """Usage 9: periods n2, goods code 30, fee mode n1, and what an acquirer adds (62 characters in all at most)."""

    periods: int
    goods: str
    fee_mode: str
    rest: str = ""


def read_instalment(value: bytes) -> Instalment:
    """33 to 62 characters."""
    text = ascii_text(62, value)
    if not 33 <= len(text) <= 62:
        raise DecodeError(62, len(text), f"instalment of {len(text)} characters, 33 to 62 wanted")
    periods = int(need_digits(62, text[:2], "periods"))
    return Instalment(periods, text[2:32].rstrip(" "), need_digits(62, text[32], "fee mode", 32), text[33:])


def write_instalment(x: Instalment) -> bytes:
    """Inverse of read_instalment."""
    text = put_digits(62, x.periods, 2, "periods") + put_text(62, x.goods, 30, "goods code")
    text += put_digits(62, x.fee_mode, 1, "fee mode") + x.rest
    if len(text) > 62 or not text.isascii():
        raise EncodeError(62, "longer than 62 characters or not ASCII")
    return text.encode("ascii")


class Points(NamedTuple):
    """Usage 13: goods code 30 and what follows it."""

    goods: str
    rest: str = ""


def read_points(value: bytes) -> Points:
    """30 characters and more."""
    text = ascii_text(62, value)
    if len(text) < 30:
        raise DecodeError(62, len(text), f"points request of {len(text)} characters, at least 30 wanted")
    return Points(text[:30].rstrip(" "), text[30:])


def write_points(x: Points) -> bytes:
    """Inverse of read_points."""
    text = put_text(62, x.goods, 30, "goods code") + x.rest
    if not text.isascii():
        raise EncodeError(62, "not ASCII text")
    return text.encode("ascii")


def read_original_terminal(value: bytes) -> str:
    """Usage 18, the terminal of the purchase that an offline refund undoes: ans8, spaces on the right dropped."""
    text = ascii_text(62, value)
    if len(text) != 8:
        raise DecodeError(62, 0, f"terminal of {len(text)} characters, 8 wanted")
    return text.rstrip(" ")


def write_original_terminal(tid: str) -> bytes:
    """Inverse of read_original_terminal."""
    text = put_text(62, tid, 8, "terminal")
    if not text.isascii():
        raise EncodeError(62, "terminal is not ASCII")
    return text.encode("ascii")


DETAIL_USAGES: Final[Mapping[str, int]] = MappingProxyType({"instalment": 0x09, "transfer": 0x10, "points": 0x13})
"""Tags of the usages that may follow an SM4 PIN in DE62."""


def read_detail(value: bytes, usage: str) -> bytes:
    """What a DE62 holds besides a PIN: all of it, or the usage behind an SM4 PIN block (tag, length 1, data).

    `usage` is a name of DETAIL_USAGES. DecodeError where it is not there.
    """
    if value[:2] != _SM_PIN_HEAD:
        return value
    at = 18
    while at + 2 <= len(value):
        tag, size = value[at], value[at + 1]
        if tag == DETAIL_USAGES[usage] and at + 2 + size <= len(value):
            return value[at + 2 : at + 2 + size]
        at += 2 + size
    raise DecodeError(62, at, f"no {usage} behind the PIN")


def write_detail(pin: bytes, usage: str, data: bytes) -> bytes:
    """Inverse of read_detail; `pin` is what write_sm_pin_62 made, b"" where no PIN stands in DE62."""
    if not pin:
        return data
    if len(data) > 255:
        raise EncodeError(62, f"{usage} of {len(data)} bytes behind a PIN")
    return pin + bytes((DETAIL_USAGES[usage], len(data))) + data


_SM_PIN_HEAD: Final = b"\x00\x10"


def read_sm_pin_62(value: bytes) -> bytes:
    """Usage 22, an SM4 PIN: `0010` and the 16-byte block (other usages after it are left)."""
    if value[:2] != _SM_PIN_HEAD or len(value) < 18:
        raise DecodeError(62, 0, "no SM4 PIN block under tag 00")
    return value[2:18]


def write_sm_pin_62(block: bytes) -> bytes:
    """Inverse of read_sm_pin_62."""
    if len(block) != 16:
        raise EncodeError(62, f"SM4 PIN block of {len(block)} bytes, not 16")
    return _SM_PIN_HEAD + block
