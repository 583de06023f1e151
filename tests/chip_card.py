"""A chip as small as can be: its keys, its counter, its purse. It makes DE55 with right cryptograms and reads answers.

It does its own arithmetic from the master keys, so that an issuer is checked from outside.
"""

from issuer_member import CODEC

from switch.crypto import cryptogram, script
from switch.issuer.portfolio import Card, Portfolio
from switch.wire import tlv

BYTE = {"3des": "01", "sm4": "04"}
ARQC_CVR, TC_CVR, AAC_CVR, LATE_TC_CVR = 0xA00000, 0x900000, 0x800000, 0x610000
"""CVR of a request; of an offline approval; of an offline decline; of an approval after going online had failed."""
TYPES = {0x20: b"\x80", 0x10: b"\x40", 0x00: b"\x00"}


class TestChip:
    """`balance_minor` None leaves the balance out of the issuer application data."""

    __test__ = False

    def __init__(self, portfolio: Portfolio, card: Card, suite="3des", cvn="01", psn="00", balance_minor=0):
        self.card = card
        self.suite = suite
        self.cvn = cvn
        self.psn = psn
        self.balance_minor = balance_minor
        self.atc = 0
        self.arqc = b""
        self.keys = {
            use: cryptogram.card_key(
                suite, portfolio.master_key(card.issuer.institution, suite, use), card.pan, psn
            )
            for use in ("ac", "mac", "enc")
        }  # fmt: skip

    def session(self, use: str) -> cryptogram.SessionKey:
        return cryptogram.SessionKey(self.suite, cryptogram.session_key(self.suite, self.keys[use], self.atc))

    def iad(self, cvr: int) -> bytes:
        head = bytes.fromhex(f"0701{self.cvn}03{cvr:06X}{BYTE[self.suite]}")
        if self.balance_minor is None:
            return head
        told = bytes.fromhex(f"{self.balance_minor:010d}")
        return head + b"\x0a\x01" + told + self.session("mac").iad_mac(self.atc, told)

    def icc(self, amount_minor: int, cvr: int = ARQC_CVR, atc: int | None = None, **tags) -> bytes:
        """DE55 of the next transaction (or of counter `atc`). `tags` adds or changes elements: t9F74=b"ECC001"."""
        self.atc = self.atc + 1 if atc is None else atc
        values = {
            "9F27": TYPES[cvr >> 16 & 0x30 if cvr >> 22 != 1 else 0x10], "9F10": self.iad(cvr),
            "9F37": b"\x12\x34\x56\x78", "9F36": self.atc.to_bytes(2, "big"), "95": bytes(5),
            "9A": b"\x26\x11\x21", "9C": b"\0", "9F02": bytes.fromhex(f"{amount_minor:012d}"), "5F2A": b"\x01\x56",
            "82": b"\x7c\0", "9F1A": b"\x01\x56", "9F03": bytes(6), "9F33": b"\xe0\xe1\xc8",
        }  # fmt: skip
        covered = cryptogram.ac_input(int(self.cvn, 16), values, values["9F10"])
        self.arqc = self.session("ac").cryptogram(covered)
        values = {"9F26": self.arqc, **values, **{name[1:]: value for name, value in tags.items()}}
        return tlv.write({tag: value for tag, value in values.items() if value is not None})

    def pay(self, amount_minor: int, **tags) -> bytes:
        """An offline sale out of the purse: DE55 with its TC, told with the balance after it."""
        self.balance_minor -= amount_minor
        return self.icc(amount_minor, TC_CVR, **{"t9F74": b"ECC001", "t8A": b"Y1", **tags})

    def takes(self, answer: bytes, code: str = "00") -> dict[str, bytes]:
        """Check an answer's ARPC and scripts as the chip would, carry out what is right; the commands by script id."""
        done: dict[str, bytes] = {}
        for tag, value in tlv.read(answer):
            if tag == "9F36":
                assert value == self.atc.to_bytes(2, "big")
            elif tag == "91":
                assert value == self.session("ac").arpc(self.arqc, code.encode()) + code.encode()
            else:
                assert tag in ("71", "72")
                (_, script_id), (_, command) = tlv.read(value)
                data = script.check(self.session("mac"), command, self.atc, self.arqc)
                if command[:4] == b"\x04\xda\x9f\x79":
                    self.balance_minor = int(data.hex())
                done[script_id.hex()] = command
        return done


def df31(script_id: str, done: bool = True) -> bytes:
    """DE55 of a notice or reversal: one script result."""
    return tlv.write({"9F36": b"\0\1", "DF31": (b"\x20" if done else b"\x11") + bytes.fromhex(script_id)})


# at an issuer (tests/issuer_member.py)


def request(member, chip, kind="sale", amount=100, icc=None, entry="051", **extra):
    """A request of the chip's card with DE55, by contact unless said otherwise."""
    extra = {"de35": None, "de22": entry, "de23": f"0{chip.psn}", **extra}
    icc = chip.icc(amount) if icc is None else icc
    return member.request(kind, chip.card, amount, de55=icc, **extra)


def ask(member, chip, kind="sale", amount=100, icc=None, entry="051", **extra):
    """The answer to it."""
    return member.ask(request(member, chip, kind, amount, icc, entry, **extra))


def notice(member, chip, script_id, done=True, of=None):
    """The answer code to a 0620 for `of`; without DE128, as the network's page has it."""
    of = of or member.request("sale", chip.card, 100)
    message = member.request("script_notice", chip.card, 0, de55=df31(script_id, done), de90=member.original(of))
    message.fields |= {70: "951", 39: "00"}
    for de in (3, 14, 25, 35):
        message.fields.pop(de, None)
    (reply,) = member.push(CODEC.encode("0620", dict(sorted(message.fields.items()))))
    assert reply.mti == "0630"
    return reply[39]
