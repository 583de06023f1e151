"""A message to be sent by hand: read from JSON or hex, PIN and MAC put in under given keys, the answer's MAC checked.

Clear keys and a clear PIN are handled here only because a user types them; nothing of them is printed or raised.
"""

import hmac
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from switch.app.decode import SourceError, parse_hex
from switch.app.detect import detect
from switch.crypto.block import ecb_encryptor
from switch.crypto.mac import message_mac
from switch.crypto.pinblock import encode as pin_block
from switch.wire.codec import Codec, codec_of
from switch.wire.dialects import DIALECTS, Dialect
from switch.wire.errors import EncodeError
from switch.wire.framing import Framing, NetworkHeader, PosHeader, pos_header
from switch.wire.mab import network_mab, pos_mab
from switch.wire.message import Message
from switch.wire.private import SM_PIN_SIZE, write_sm_pin
from switch.wire.private_62 import write_sm_pin_62
from switch.wire.profile import PosProfile, Profile, dialect_of, framing_of, load_profile

Suite: TypeAlias = Literal["3des", "sm4"]

_POS_MAC = 64
_NETWORK_MAC = 128
_PLACEHOLDER = b"00000000"

_NO_MAC_POS = frozenset(("03", "05", "08", "09"))
_NO_MAC_NETWORK = frozenset(("05", "06", "08"))


class Order(NamedTuple):
    """One message to send; header and TPDU are empty where the profile's are to be used."""

    dialect: str | None
    mti: str
    fields: dict[int, Any]
    pads: dict[int, str] | None = None
    header: bytes = b""
    tpdu: bytes = b""

    def __repr__(self) -> str:
        return f"Order({self.mti}, {sorted(self.fields)})"


class Keys(NamedTuple):
    """Working keys in clear, as the user gave them; empty where there are none."""

    suite: Suite
    mak: bytes = b""
    pik: bytes = b""
    pin: str = ""

    def __repr__(self) -> str:
        return f"Keys({self.suite})"


def read_orders(text: str) -> list[Order]:
    """Messages from JSON (an object or a list of them) or from hex, one a line. Raises SourceError with the place."""
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text)
    orders = []
    for number, line in enumerate(text.splitlines(), 1):
        digits = line.split("#", 1)[0].strip()
        if digits:
            try:
                orders.append(_from_bytes(parse_hex(digits)))
            except SourceError as fault:
                raise SourceError(f"line {number}: {fault}") from None
    if not orders:
        raise SourceError("no message in the input")
    return orders


def _from_bytes(data: bytes) -> Order:
    reading = detect(data)
    message = reading.message
    if message is None or reading.error is not None:
        raise SourceError(f"not a whole message: {reading.error}")
    frame = reading.frame
    return Order(reading.dialect.name, message.mti, dict(message.fields), message.pads, frame.header, frame.tpdu)


def _from_json(text: str) -> list[Order]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"not JSON: {error}") from None
    items = found if isinstance(found, list) else [found]
    if not items:
        raise SourceError("no message in the input")
    return [_order(item, f"message {number}: " if len(items) > 1 else "") for number, item in enumerate(items, 1)]


def _order(item: Any, place: str) -> Order:
    if not isinstance(item, dict):
        raise SourceError(f"{place}a message is an object with mti and fields")
    mti, fields = item.get("mti"), item.get("fields")
    if not isinstance(mti, str) or not isinstance(fields, dict):
        raise SourceError(f"{place}mti is a text of four digits, fields an object of DE number to text")
    name = item.get("dialect", item.get("link"))
    if name is not None and name not in DIALECTS:
        raise SourceError(f"{place}dialect is one of {', '.join(DIALECTS)}")
    header = item.get("header")
    header = header.get("hex") if isinstance(header, dict) else header
    pads = item.get("pads") or {}
    if not isinstance(pads, dict):
        raise SourceError(f"{place}pads is an object of DE number to nibble")
    return Order(
        name,
        mti,
        {_number(de, place): _text(de, value, place) for de, value in fields.items()},
        {_number(de, place): _text(de, pad, place) for de, pad in pads.items()} or None,
        _hex_part(header, f"{place}header"),
        _hex_part(item.get("tpdu"), f"{place}tpdu"),
    )


def _number(de: str, place: str) -> int:
    if not de.isascii() or not de.isdigit():
        raise SourceError(f'{place}a field is named by its number, as in "3"')
    return int(de)


def _text(de: str, value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise SourceError(f"{place}field {de} is not a text")
    return value


def _hex_part(value: Any, place: str) -> bytes:
    if not value:
        return b""
    if not isinstance(value, str):
        raise SourceError(f"{place} is not hexadecimal")
    try:
        return parse_hex(value)
    except SourceError as fault:
        raise SourceError(f"{place}: {fault}") from None


class Line:
    """One link as its profile describes it: builds the frames to send and checks what comes back."""

    def __init__(self, profile: Profile, keys: Keys, tpdu: bytes = b"") -> None:
        self.profile = profile
        self.keys = keys
        self.framing: Framing = framing_of(profile)
        self.dialect: Dialect = dialect_of(profile)
        self.codec: Codec = codec_of(self.dialect)
        self._tpdu = tpdu
        self._mac = message_mac(self._algorithm(), keys.suite, keys.mak) if keys.mak else None

    def _algorithm(self) -> str:
        if isinstance(self.profile, PosProfile):
            section = self.profile.suites.get(self.keys.suite)
            return section.mac if section is not None else "cup-ecb"
        # The network's algorithm follows from suite and key length; a key of the other suite is the user's choice.
        return self.profile.keys.mac if self.profile.keys.suite == self.keys.suite == "sm4" else "network"

    @property
    def packed(self) -> bool:
        """Whether this is a terminal's link."""
        return self.dialect.name == "pos"

    def fields_of(self, order: Order) -> dict[int, Any]:
        """The order's fields as the codec takes them. Raises EncodeError or SourceError."""
        if order.dialect is not None and order.dialect != self.dialect.name:
            raise SourceError(f"a {order.dialect} message does not fit a {self.dialect.name} profile; give --profile")
        return {de: self._value(de, value) for de, value in order.fields.items()}

    def _value(self, de: int, value: Any) -> Any:
        if not 2 <= de <= self.dialect.bits:
            raise EncodeError(de, "not used on this link")
        if isinstance(value, str) and self.dialect.row(de)["kind"] == "b":
            try:
                return bytes.fromhex(value)
            except ValueError:
                raise EncodeError(de, "binary fields are written in hexadecimal") from None
        return value

    def _put_pin(self, fields: dict[int, Any]) -> None:
        form, carrier, digit = self._pin_rules()
        block = pin_block(form, self.keys.pin, _pan_of(fields))
        wrapped = ecb_encryptor(self.keys.suite, self.keys.pik)(block)
        if carrier == "de52":
            fields[52] = wrapped
        else:
            if len(wrapped) != SM_PIN_SIZE:
                raise EncodeError(63, "this carrier takes an SM4 PIN block; give --suite sm4")
            fields[52] = bytes(8)
            fields[63 if carrier == "de63-sm" else 62] = (
                write_sm_pin(wrapped) if carrier == "de63-sm" else write_sm_pin_62(wrapped)
            )
        fields.setdefault(26, "12")
        fields.setdefault(53, f"{'1' if form == 'plain' else '2'}{digit}".ljust(16, "0"))

    def _pin_rules(self) -> tuple[str, str, str]:
        """PIN format, carrier and DE53's algorithm digit."""
        suite = self.keys.suite
        if isinstance(self.profile, PosProfile):
            section = self.profile.suites.get(suite)
            if section is not None:
                return section.pin_format, section.pin_carrier, section.algorithm_digit
        elif self.profile.keys.suite == suite:
            own = self.profile.keys
            return own.pin_format, own.pin_carrier, own.algorithm_digit
        return ("sm4", "de63-sm", "4") if suite == "sm4" else ("iso0", "de52", "6")

    def build(self, order: Order) -> bytes:
        """The whole frame. Raises WireError or CryptoError."""
        fields = self.fields_of(order)
        if self.keys.pin:
            self._put_pin(fields)
        pads = order.pads
        if pads is None and isinstance(self.profile, PosProfile):
            pads = {int(de): pad for de, pad in self.profile.pads.items() if int(de) in fields} or None
        body = self._signed(order.mti, fields, pads)
        return self.framing.wrap(body, self._header(order, len(body)), self._tpdu_of(order))

    def _signed(self, mti: str, fields: dict[int, Any], pads: Mapping[int, str] | None) -> bytes:
        if self._mac is None or not self._wants_mac(mti, fields):
            return self.codec.encode(mti, dict(sorted(fields.items())), pads)
        if self.packed:
            fields[_POS_MAC] = _PLACEHOLDER
            covered = pos_mab(self.codec.encode(mti, dict(sorted(fields.items())), pads))
            return covered + self._mac(covered)
        text = network_mab(mti, fields, _is_key_reset(mti, fields))
        fields[_NETWORK_MAC] = self._mac(text).decode("ascii")
        return self.codec.encode(mti, dict(sorted(fields.items())), pads)

    def _wants_mac(self, mti: str, fields: Mapping[int, Any]) -> bool:
        if self.packed:
            return _POS_MAC in fields or mti[:2] not in _NO_MAC_POS
        return _NETWORK_MAC in fields or mti[:2] not in _NO_MAC_NETWORK or _is_key_reset(mti, fields)

    def _tpdu_of(self, order: Order) -> bytes:
        if not self.framing.tpdu:
            return b""
        own = bytes.fromhex(self.profile.header.tpdu) if isinstance(self.profile, PosProfile) else b""
        return self._tpdu or order.tpdu or own

    def _header(self, order: Order, body_length: int) -> bytes:
        if not self.framing.header:
            return b""
        given = order.header if len(order.header) == self.framing.header else b""
        if not isinstance(self.profile, PosProfile):
            own = self.profile.header
            header = NetworkHeader(own.version, destination=own.destination, source=own.source)
            return (NetworkHeader.parse(given) if given else header).build(body_length)
        section = self.profile.header
        if given:
            return PosHeader.parse(given).build()
        return pos_header(section.application_class, section.software_version, reserved=section.tail)

    def check_mac(self, reply: Message) -> str:
        """ "right", "wrong", "absent" (the answer has none) or "unchecked" (no key was given)."""
        carried = reply.get(_POS_MAC if self.packed else _NETWORK_MAC)
        if carried is None:
            return "absent"
        if self._mac is None:
            return "unchecked"
        if self.packed:
            return "right" if hmac.compare_digest(self._mac(pos_mab(reply.raw)), carried) else "wrong"
        text = network_mab(reply.mti, reply.fields, _is_key_reset(reply.mti, reply.fields))
        return "right" if hmac.compare_digest(self._mac(text), carried.encode("ascii", "replace")) else "wrong"


def _is_key_reset(mti: str, fields: Mapping[int, Any]) -> bool:
    return mti in ("0800", "0810") and fields.get(70) == "101"


def _pan_of(fields: Mapping[int, Any]) -> str:
    """The card number that the PIN is bound to: DE2, else the one in track 2."""
    pan = fields.get(2)
    if isinstance(pan, str):
        return pan
    track = fields.get(35)
    if isinstance(track, str):
        return track.replace("=", "D").partition("D")[0]
    raise EncodeError(2, "a PIN is bound to a card number; give DE2 or DE35")


def profile_for(name: str | None, orders: list[Order]) -> Profile:
    """The profile asked for, or the shipped one of the messages' dialect. Raises WireError."""
    if name is not None:
        return load_profile(name)
    network = any(order.dialect == "network" for order in orders)
    return load_profile("cups" if network else "unionpay-pos")
