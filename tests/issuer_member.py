"""The acquirer's end of a network line, as small as can be: what a Centre is tested against.

It knows the member's master key in clear and does its own cryptography, so the centre's HSM is checked from outside.
"""

import hashlib
from typing import Any

from switch.clearing.schema import CHIPS, LEDGER, PINS
from switch.crypto import pinblock
from switch.crypto.block import cipher
from switch.crypto.hsm import Hsm
from switch.crypto.mac import sm4_cbc_mac, x9_9, x9_19
from switch.issuer.centre import Centre
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY, Bank
from switch.issuer.masterkeys import take_master_keys
from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from switch.issuer.rules import read_rules
from switch.issuer.verify import Limits
from switch.machine import Arm, Close, Link, Now, Post, Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.framing import Frame, NetworkHeader
from switch.wire.mab import network_mab
from switch.wire.message import Message
from switch.wire.private import read_54, write_sm_pin
from switch.wire.private_network import OriginalData, read_new_key, write_90
from switch.wire.profile import NetworkProfile, load_profile
from switch.wire.transactions import BY_NAME

ZMK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
DAY = "1121"
WALL = 1_795_230_000.0
"""2026-11-21 11:00:00 in Beijing."""

CODEC = codec_of(NETWORK)
PORTFOLIO = Portfolio(7, STANDARD_ISSUERS, 500)


def entropy_from(seed: int):
    """A stream of bytes that is the same for the same seed."""
    count = 0

    def take(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(size)

    return take


def issuer_hsm(name: str, suite: str, seed: int = 1) -> Hsm:
    hsm = Hsm(bytes(32), entropy_from(seed))
    hsm.generate(PAN_HASH_KEY, "hash", "aes", 32)
    hsm.generate(PIN_REFERENCE_KEY, "pvk", "aes", 32)
    hsm.import_clear(f"zmk/{name}", "zmk", suite, ZMK)
    take_master_keys(hsm, PORTFOLIO)
    return hsm


class Member:
    """One line up to a centre with the standard issuers (or the own bank only), and all that came back over it."""

    def __init__(self, name="cups", rules=(), own=None, limits=None, signed_on=True, seed=1, profile=None):
        self.profile: NetworkProfile = profile or load_profile(name)
        self.hsm = issuer_hsm(name, self.profile.keys.suite, seed)
        self.portfolio = PORTFOLIO
        own = name == "core" if own is None else own
        indexes = [0] if own else [1, 2, 3, 4]
        self.banks = [Bank(self.portfolio, i, self.hsm, limits or Limits()) for i in indexes]
        self.first_issuer = indexes[0]
        institution = self.profile.header.destination
        self.centre = Centre(
            name, self.profile, institution, self.banks, self.hsm, rules=read_rules(rules), settlement_date=DAY
        )
        self.rows: list[tuple[Any, ...]] = []
        self.chips: list[tuple[Any, ...]] = []
        self.pins: list[tuple[Any, ...]] = []
        self.arms: list[float] = []
        self.closed: list[str] = []
        self.headers: list[NetworkHeader] = []
        self.sent: list[Send] = []
        self.keys: dict[str, bytes] = {}
        self.mono = 100.0
        self.stan = 0
        self.acknowledge = "00"
        self.connect()
        if signed_on:
            self.sign_on()

    # the wire

    def connect(self):
        self.link = Link(1, self.profile.name)
        self.centre.link_up(self.link, self.now, [])

    @property
    def now(self) -> Now:
        return Now(self.mono, WALL + self.mono)

    def header(self, **parts) -> NetworkHeader:
        section = self.profile.header
        return NetworkHeader(section.version, 46, section.destination, section.source)._replace(**parts)

    def push(self, body: bytes, header: bytes | None = None) -> list[Message]:
        out: list[Any] = []
        if header is None:
            header = self.header().build(len(body)) if self.profile.framing.header else b""
        frame = Frame(b"", header, body)
        self.centre.receive(self.link, frame, self.now, out)
        return self.drain(out)

    def wait(self, seconds: float) -> list[Message]:
        self.mono += seconds
        out: list[Any] = []
        self.centre.tick(self.now, out)
        return self.drain(out)

    def drain(self, out: list[Any]) -> list[Message]:
        """Do what the centre wants done; key resets are answered, all other messages are returned."""
        got = []
        for effect in out:
            match effect:
                case Post(number, table, row):
                    assert number == len(self.rows) + len(self.chips) + len(self.pins) + 1
                    assert row[0] == number
                    rows, names = {
                        "chips": (self.chips, CHIPS.names), "pins": (self.pins, PINS.names),
                    }.get(table, (self.rows, LEDGER.names))  # fmt: skip
                    assert len(row) == len(names)
                    rows.append(row)
                case Send(link, body, header, _, after):
                    assert link is self.link
                    assert after <= len(self.rows) + len(self.chips) + len(self.pins)
                    self.sent.append(effect)
                    if header:
                        self.headers.append(NetworkHeader.parse(header, len(header) + len(body)))
                    message = CODEC.decode(body)
                    got += self.on_reset(message) if message.mti == "0800" else [message]
                case Arm(at):
                    self.arms.append(at)
                case Close(_, reason):
                    self.closed.append(reason)
        return got

    # keys

    def mac(self, mti: str, fields: dict[int, Any], key: bytes | None = None, reset: bool = False) -> str:
        key = key or self.keys["2"]
        text = network_mab(mti, fields, reset)
        algorithm = sm4_cbc_mac if self.profile.keys.suite == "sm4" else x9_9 if len(key) == 8 else x9_19
        return algorithm(key, text)[:4].hex().upper()

    def on_reset(self, message: Message) -> list[Message]:
        fields = message.fields
        wrapped = fields[96] if 96 in fields else read_new_key(fields[48])
        digit = fields[53][0]
        key = cipher(self.profile.keys.suite, ZMK).decrypt(wrapped)
        proof = key if digit == "2" and self.profile.keys.mac_key_proves_itself else self.keys["2"]
        covered = {de: value for de, value in fields.items() if de != 128}
        assert fields[128] == self.mac("0800", covered, proof, reset=True)
        assert fields[100] == self.profile.forwarder
        reply = {de: fields[de] for de in (7, 11, 53, 70, 100)} | {39: self.acknowledge}
        if self.acknowledge == "00":
            self.keys[digit] = key
        reply[128] = self.mac("0810", reply, reset=True)
        return self.push(CODEC.encode("0810", dict(sorted(reply.items()))))

    def drain_reset(self) -> None:
        """Let the centre offer both keys anew, and take them."""
        out: list[Any] = []
        assert self.centre.reset_keys(self.now, out)
        self.drain(out)

    def manage(self, code: str, **extra) -> Message:
        fields = {7: self.time(), 11: self.next_stan(), 33: self.profile.forwarder, 70: code}
        fields |= {int(de[2:]): value for de, value in extra.items()}
        replies = self.push(CODEC.encode("0820", dict(sorted(fields.items()))))
        assert replies[0].mti == "0830"
        assert replies[0][11] == fields[11]
        return replies[0]

    def sign_on(self):
        assert self.manage("001")[39] == "00"
        digit = self.profile.keys.algorithm_digit
        assert self.manage("101", de53=f"2{digit}" + "0" * 14)[39] == "00"
        assert self.manage("101", de53=f"1{digit}" + "0" * 14)[39] == "00"
        assert set(self.keys) == {"1", "2"}

    # requests

    def time(self) -> str:
        minutes, seconds = divmod(int(self.mono), 60)
        return f"112111{minutes % 60:02d}{seconds:02d}"

    def next_stan(self) -> str:
        self.stan += 1
        return f"{self.stan:06d}"

    def card(self, n: int = 0, issuer: int | None = None, chip: str | None = None) -> Card:
        """The n-th card of an issuer that is fit to pay; `chip` "" for one whose chip the issuer knows nothing of."""
        index = self.first_issuer if issuer is None else issuer
        cards = (self.portfolio.card(index, i) for i in range(500))
        good = [card for card in cards if card.status == "normal" and card.expiry > "2612"]
        return [card for card in good if chip in (None, card.chip)][n]

    def request(self, kind: str, card: Card, amount: int = 0, pin: str | None = None, **extra) -> Message:
        """A request of the matrix, not yet MAC'd. `extra` sets fields (de38="..."); None drops one."""
        row = BY_NAME[kind]
        stan = self.next_stan()
        fields: dict[int, Any] = {
            2: card.pan, 3: row.network_processing_code, 4: f"{amount:012d}", 7: self.time(), 11: stan,
            12: "110000", 13: "1121", 14: card.expiry, 18: "5411", 22: "022", 25: row.condition,
            32: self.profile.acquirer, 33: self.profile.forwarder, 35: card.track2, 37: f"260100{stan}",
            41: "10000147", 42: "810000954110001", 43: "CHN29000".ljust(40), 49: "156",
            60: "00000600030000000000000",
        }  # fmt: skip
        if kind == "balance":
            del fields[4]
        if pin is not None:
            fields |= self.pin_fields(card, pin)
        for name, value in extra.items():
            fields[int(name[2:])] = value
        fields = {de: value for de, value in sorted(fields.items()) if value is not None}
        return Message(row.network_mti, fields)

    def pin_fields(self, card: Card, pin: str, key: bytes | None = None) -> dict[int, Any]:
        section = self.profile.keys
        clear = pinblock.encode(section.pin_format, pin, card.pan)
        block = cipher(section.suite, key or self.keys["1"]).encrypt(clear)
        if section.pin_carrier == "de63-sm":
            return {26: "06", 52: bytes(8), 53: "2400000000000000", 63: write_sm_pin(block)}
        return {26: "06", 52: block, 53: "2600000000000000"}

    def original(self, message: Message) -> str:
        return write_90(OriginalData(message.mti, message[11], message[7], message[32], message[33]))

    def reversal(self, original: Message, **extra) -> Message:
        """The 0420 of a request."""
        keep = (2, 3, 4, 12, 13, 18, 22, 25, 32, 33, 37, 41, 42, 43, 49)
        fields = {de: original[de] for de in keep if de in original}
        fields |= {7: self.time(), 11: self.next_stan(), 60: "435100000300", 90: self.original(original)}
        for name, value in extra.items():
            fields[int(name[2:])] = value
        return Message("0420", {de: value for de, value in sorted(fields.items()) if value is not None})

    def send(self, message: Message, mac: str | None = None) -> list[Message]:
        """MAC and send; the answers as they came, each with a right MAC."""
        mac = self.mac(message.mti, message.fields) if mac is None else mac
        replies = self.push(CODEC.encode(message.mti, message.fields | {128: mac}))
        for reply in replies:
            self.check(message, reply)
        return replies

    def check(self, message: Message, reply: Message) -> None:
        covered = {de: value for de, value in reply.fields.items() if de != 128}
        assert reply[128] == self.mac(reply.mti, covered)
        for de in (2, 3, 4, 7, 11, 32, 33, 37, 41, 42, 49, 60):
            assert reply.get(de) == message.get(de)

    def ask(self, message: Message) -> Message:
        """The one answer."""
        (reply,) = self.send(message)
        return reply

    def code(self, kind: str, card: Card, amount: int = 0, pin: str | None = None, **extra) -> str:
        return self.ask(self.request(kind, card, amount, pin, **extra))[39]

    # the books

    def bank(self, card: Card) -> Bank:
        return next(bank for bank in self.banks if bank.issuer is card.issuer)

    def account(self, card: Card):
        pan_hash = self.hsm.keyed_hash(PAN_HASH_KEY, card.pan.encode()).hex()
        return self.bank(card).ledger.accounts[pan_hash]

    def last(self, name: str) -> Any:
        return self.rows[-1][LEDGER.names.index(name)]

    def events(self, *names: str) -> list[Any]:
        """The chips' events so far; with names, those columns of each."""
        rows = [dict(zip(CHIPS.names, row, strict=True)) for row in self.chips]
        return [tuple(row[name] for name in names) if names else row["event"] for row in rows]

    def column(self, name: str) -> list[Any]:
        return [row[LEDGER.names.index(name)] for row in self.rows]

    def restarted(self) -> "Member":
        """Another centre with the same HSM keys that has taken up these rows."""
        fresh = Member(self.profile.name, own=len(self.banks) == 1, signed_on=False)
        fresh.mono, fresh.stan = self.mono, self.stan
        fresh.rows = list(self.rows)
        fresh.chips, fresh.pins = list(self.chips), list(self.pins)
        fresh.centre.recover(fresh.rows, fresh.pins, fresh.chips)
        fresh.sign_on()
        return fresh


def read_balances(reply: Message) -> list[tuple[str, str, int]]:
    """DE54 as (account type, amount type, minor units)."""
    return [(entry.account_type, entry.amount_type, entry.amount_minor) for entry in read_54(reply[54])]
