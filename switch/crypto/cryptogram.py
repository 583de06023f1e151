"""Application cryptograms (应用密文): card keys, session keys, ARQC/TC/AAC, ARPC and the short MACs of a chip.

Two suites, `3des` and `sm4`; the byte behind the CVR in the issuer application data says which (ALGORITHMS). Functions
take and give clear bytes, for those who hold a clear key anyway. The three classes hold ready cipher contexts and give
no key: `IssuerKey` makes `CardKey`, which makes `SessionKey`. JR/T 0025 parts 5 and 17, EMV Book 2 (annex A1).
"""

from collections.abc import Mapping
from hashlib import sha1
from operator import itemgetter
from typing import NamedTuple, NoReturn

from switch.crypto import des
from switch.crypto.block import Transform, adjust_parity, ecb_decryptor, ecb_encryptor, ecb_update, suite_of
from switch.crypto.errors import CryptoError
from switch.crypto.mac import CbcMac, pad_one_zero, pad_zero, retail

# Algorithm byte of the issuer application data to suite; 00 is seen on old cards and means 3DES.
ALGORITHMS = {0x00: "3des", 0x01: "3des", 0x04: "sm4"}
ALGORITHM_BYTE = {"3des": b"\x01", "sm4": b"\x04"}
OPTIONS = ("A", "B")
_ONES = (1 << 64) - 1


class AcInput(NamedTuple):
    """What a cryptogram version takes: values of tags in their order, then bytes `start` to `end` of the 9F10 value."""

    tags: tuple[str, ...]
    start: int
    end: int


# One row per cryptogram version (CVN). The 9F10 value begins length, key index, CVN, CVR (03 and 3 bytes), algorithm.
AC_INPUTS: Mapping[int, AcInput] = {
    0x01: AcInput(("9F02", "9F03", "9F1A", "95", "5F2A", "9A", "9C", "9F37", "82", "9F36"), 3, 7),
    0x17: AcInput(("9F02", "9F37", "9F36"), 4, 5),
}
_LENGTHS = {
    "9F02": 6, "9F03": 6, "9F1A": 2, "95": 5, "5F2A": 2, "9A": 3, "9C": 1, "9F37": 4, "82": 2, "9F36": 2,
}  # fmt: skip
_TAKEN = {
    cvn: (itemgetter(*row.tags), tuple(_LENGTHS[tag] for tag in row.tags), row.start, row.end)
    for cvn, row in AC_INPUTS.items()
}
"""The same rows, ready to be used."""


class Steps(NamedTuple):
    """Every intermediate of one cryptogram, for people who look; it shows keys to who asks, never in its repr."""

    suite: str
    diversifier: bytes
    card_key: bytes
    left: bytes
    right: bytes
    session_key: bytes
    data: bytes
    padded: bytes
    chain: tuple[bytes, ...]
    cryptogram: bytes

    def __repr__(self) -> str:
        return f"Steps({self.suite})"


def ac_input(cvn: int, values: Mapping[str, bytes], iad: bytes) -> bytes:
    """What a cryptogram of version `cvn` covers; `values`: tag (upper-case hex) to value, `iad`: 9F10's value.

    CryptoError for an unknown version, a value absent or of another length, issuer data too short to hold a CVR.
    """
    row = _TAKEN.get(cvn)
    if row is None:
        raise CryptoError(f"cryptogram version {cvn:02X} is not known")
    if len(iad) < 7:
        raise CryptoError(f"issuer application data of {len(iad)} bytes holds no CVR")
    take, lengths, start, end = row
    try:
        parts = take(values)
    except KeyError as error:
        raise CryptoError(f"tag {error.args[0]} is absent from the input of cryptogram version {cvn:02X}") from None
    if tuple(map(len, parts)) != lengths:
        tag, part = next(
            (tag, part) for tag, part in zip(AC_INPUTS[cvn].tags, parts, strict=True) if len(part) != _LENGTHS[tag]
        )
        raise CryptoError(f"tag {tag} has {len(part)} bytes in the input of a cryptogram, not {_LENGTHS[tag]}")
    return b"".join(parts) + iad[start:end]


def suite_of_iad(iad: bytes) -> str:
    """The suite that the issuer application data names behind the CVR; 3DES where the byte is absent."""
    suite = ALGORITHMS.get(iad[7]) if len(iad) > 7 else "3des"
    if suite is None:
        raise CryptoError(f"algorithm {iad[7]:02X} of the issuer application data is not known")
    return suite


def diversifier(pan: str, psn: str, option: str = "A") -> bytes:
    """What a card key is derived from: 8 bytes of PAN and sequence number.

    Option A takes the last 16 digits of both; option B (EMV) the decimalised SHA-1 of both for a PAN of more than 16
    digits, and is option A for a shorter one.
    """
    digits = pan + (psn or "00").rjust(2, "0")
    if not (digits.isascii() and digits.isdigit() and 1 <= len(pan) <= 19 and len(digits) == len(pan) + 2):
        raise CryptoError("a PAN of 1 to 19 digits and a sequence number of 2 are needed to derive a card key")
    if option not in OPTIONS:
        raise CryptoError(f"key derivation option A or B, not {option!r}")
    if option == "B" and len(pan) > 16:
        digest = sha1(bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits), usedforsecurity=False)
        text = digest.hexdigest()
        decimal = [c for c in text if c.isdigit()] + [str(ord(c) - ord("a")) for c in text if c.isalpha()]
        return bytes.fromhex("".join(decimal[:16]))
    return bytes.fromhex(digits[-16:].rjust(16, "0"))


def _complement(block: bytes) -> bytes:
    return (int.from_bytes(block, "big") ^ _ONES).to_bytes(8, "big")


def session_blocks(atc: int) -> bytes:
    """The two blocks, side by side, that a PBOC session key is made of: ATC and its complement, right-justified."""
    if not 0 <= atc <= 0xFFFF:
        raise CryptoError("an ATC has 2 bytes")
    return (atc << 64 | atc ^ 0xFFFF).to_bytes(16, "big")


def _chip_suite(suite: str) -> int:
    if suite not in ALGORITHM_BYTE:
        raise CryptoError(f"a chip works with 3des or sm4, not with {suite!r}")
    return suite_of(suite).block


def _chip_key(suite: str, key: bytes) -> None:
    _chip_suite(suite)
    if len(key) != 16:
        raise CryptoError(f"a key of a chip has 16 bytes, not {len(key)}")


def card_key(suite: str, imk: bytes, pan: str, psn: str, option: str = "A", parity: bool = False) -> bytes:
    """A card's key (UDK) of 16 bytes from an issuer master key; `parity` makes a 3DES key odd, which ciphers ignore."""
    _chip_key(suite, imk)
    block = diversifier(pan, psn, option)
    key = ecb_encryptor(suite, imk)(block + _complement(block))
    return adjust_parity(key) if parity and suite == "3des" else key


def session_key(suite: str, card_key: bytes, atc: int) -> bytes:
    """A PBOC session key of 16 bytes; the same rule for the keys of cryptograms, MACs and encipherment."""
    _chip_key(suite, card_key)
    return ecb_encryptor(suite, card_key)(session_blocks(atc))


def emv_session_key(mk: bytes, r: bytes) -> bytes:
    """An EMV common session key (3DES): `r` of 8 bytes, its third byte F0 for the left half and 0F for the right.

    For a cryptogram `r` is ATC and six zero bytes; for scripts it is the ARQC.
    """
    _chip_key("3des", mk)
    if len(r) != 8:
        raise CryptoError(f"a session key is diversified by 8 bytes, not {len(r)}")
    return ecb_encryptor("3des", mk)(r[:2] + b"\xf0" + r[3:] + r[:2] + b"\x0f" + r[3:])


class SessionKey:
    """One session key with its contexts: cryptograms, ARPC, short MACs, and the encipherment of a PIN change.

    What it needs is made when first needed, and of a single block both MACs are the cipher itself.
    """

    __slots__ = ("_block", "_decrypt", "_encrypt", "_key", "_mac", "suite")

    def __init__(self, suite: str, key: bytes) -> None:
        if len(key) != 16 or suite not in ALGORITHM_BYTE:
            _chip_key(suite, key)
        self.suite = suite
        self._key = key
        self._block = 8 if suite == "3des" else 16
        self._mac: Transform | None = None
        self._encrypt: Transform | None = None
        self._decrypt: Transform | None = None

    def mac(self, padded: bytes) -> bytes:
        """The MAC block over whole blocks: 8 bytes for 3DES (ISO 9797-1 algorithm 3), 16 for SM4 (CBC)."""
        if not padded or len(padded) % self._block:
            raise CryptoError(f"a MAC covers whole blocks of {self._block} bytes, one at least, not {len(padded)}")
        if self._mac is None:
            made = des.retail_once(self._key, padded) if self.suite == "3des" else None
            if made is not None:
                return made
            self._mac = CbcMac("sm4", self._key).last_block if self.suite == "sm4" else retail(self._key)
        return self._mac(padded)

    def cryptogram(self, data: bytes) -> bytes:
        """ARQC, TC or AAC over `data`: 8 bytes."""
        return self.mac(pad_one_zero(data, self._block))[:8]

    def mac4(self, data: bytes) -> bytes:
        """The short MAC of scripts and of the issuer application data: 4 bytes."""
        return self.mac(pad_one_zero(data, self._block))[:4]

    def iad_mac(self, atc: int, data: bytes) -> bytes:
        """The 4 bytes behind the issuer's discretionary data: over ATC and `data`, filled with zeros to 8 bytes."""
        return self.mac4(iad_mac_input(atc, data))

    def arpc(self, arqc: bytes, arc: bytes) -> bytes:
        """The issuer's answer by method 1, 8 bytes: the cryptogram crossed with the response code of 2 bytes."""
        if len(arqc) != 8 or len(arc) != 2:
            raise CryptoError("an ARPC is made of a cryptogram of 8 bytes and a response code of 2")
        crossed = (int.from_bytes(arqc, "big") ^ (int.from_bytes(arc, "big") << 48)).to_bytes(8, "big")
        return self.mac(crossed if self.suite == "3des" else crossed + bytes(8))[:8]

    def arpc_csu(self, arqc: bytes, csu: bytes, proprietary: bytes = b"") -> bytes:
        """The issuer's answer by method 2 (EMV, not PBOC): 4 bytes over cryptogram, card status update and more."""
        if len(arqc) != 8 or len(csu) != 4 or len(proprietary) > 8:
            raise CryptoError("method 2 takes a cryptogram of 8 bytes, a status update of 4 and up to 8 more")
        return self.mac4(arqc + csu + proprietary)

    def encrypt(self, data: bytes) -> bytes:
        """Whole blocks of 16 bytes enciphered in ECB, as a PIN change travels."""
        if self._encrypt is None:
            self._encrypt = ecb_encryptor(self.suite, self._key)
        return self._encrypt(data)

    def decrypt(self, data: bytes) -> bytes:
        """What `encrypt` made."""
        if self._decrypt is None:
            self._decrypt = ecb_decryptor(self.suite, self._key)
        return self._decrypt(data)

    def __repr__(self) -> str:
        return f"SessionKey({self.suite})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a session key is not to be pickled or copied")


class CardKey:
    """One key of one card with its context; `session` keeps the last session, which a transaction uses again."""

    __slots__ = ("_atc", "_encrypt", "_session", "pin_part", "suite")

    def __init__(self, suite: str, key: bytes) -> None:
        _chip_key(suite, key)
        self.suite = suite
        self._encrypt = ecb_update(suite, key)
        self.pin_part = key[4:8]
        self._atc = -1
        self._session: SessionKey | None = None

    def session(self, atc: int) -> SessionKey:
        """The PBOC session key of one ATC."""
        if self._session is None or self._atc != atc:
            self._session = SessionKey(self.suite, self._encrypt(session_blocks(atc)))
            self._atc = atc
        return self._session

    def __repr__(self) -> str:
        return f"CardKey({self.suite})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a card's key is not to be pickled or copied")


class IssuerKey:
    """An issuer master key with its context: it gives cards' keys as contexts, never as bytes."""

    __slots__ = ("_encrypt", "suite")

    def __init__(self, suite: str, key: bytes) -> None:
        _chip_key(suite, key)
        self.suite = suite
        self._encrypt = ecb_encryptor(suite, key)

    def card(self, pan: str, psn: str, option: str = "A") -> CardKey:
        """The key of one card."""
        block = diversifier(pan, psn, option)
        return CardKey(self.suite, self._encrypt(block + _complement(block)))

    def __repr__(self) -> str:
        return f"IssuerKey({self.suite})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an issuer master key is not to be pickled or copied")


def iad_mac_input(atc: int, data: bytes) -> bytes:
    """What the MAC of the issuer application data covers: ATC and discretionary data, zeros to whole 8 bytes."""
    if not 0 <= atc <= 0xFFFF:
        raise CryptoError("an ATC has 2 bytes")
    return pad_zero(atc.to_bytes(2, "big") + data, 8)


def application_cryptogram(suite: str, sk: bytes, data: bytes) -> bytes:
    """ARQC, TC or AAC over `data` under a clear session key: 8 bytes."""
    return SessionKey(suite, sk).cryptogram(data)


def arpc(suite: str, sk: bytes, arqc: bytes, arc: bytes) -> bytes:
    """The ARPC by method 1 under a clear session key: 8 bytes; `arc` has 2."""
    return SessionKey(suite, sk).arpc(arqc, arc)


def message_mac4(suite: str, sk: bytes, data: bytes) -> bytes:
    """The short MAC under a clear session key: 4 bytes."""
    return SessionKey(suite, sk).mac4(data)


def steps(suite: str, imk: bytes, pan: str, psn: str, atc: int, data: bytes, option: str = "A") -> Steps:
    """A cryptogram made step by step from the issuer master key down; `chain` holds the block after each step."""
    block = diversifier(pan, psn, option)
    udk = card_key(suite, imk, pan, psn, option)
    both = session_blocks(atc)
    sk = session_key(suite, udk, atc)
    size = _chip_suite(suite)
    padded = pad_one_zero(data, size)
    cipher = ecb_encryptor(suite, sk[:8] if suite == "3des" else sk)
    whole = ecb_encryptor(suite, sk)
    chain: list[bytes] = []
    last = bytes(size)
    for at in range(0, len(padded), size):
        crossed = int.from_bytes(padded[at : at + size], "big") ^ int.from_bytes(last, "big")
        last = (whole if at + size == len(padded) else cipher)(crossed.to_bytes(size, "big"))
        chain.append(last)
    return Steps(suite, block, udk, both[:8], both[8:], sk, data, padded, tuple(chain), last[:8])
