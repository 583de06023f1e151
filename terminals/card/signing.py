"""Keys and certificates of a card, made when somebody first asks: most transactions never do.

RSA keys are picked from the pool by seed, SM2 keys derived from it; nonces of certificates are derived too, so that one
seed always gives the same card, byte for byte.
"""

import hashlib
import hmac
from typing import Final, TypeAlias

from switch.crypto import certify, rsa, sm2
from switch.crypto.oda import CaKey, checksum
from switch.crypto.rsa import RsaKey
from terminals.card.pool import CA_RSA, CA_SM2, RID, ca_sm2, pool

Certificates: TypeAlias = dict[str, bytes]
"""Tag to value of what one path's records hold: 8F, 90, 92, 9F32, 93, 9F46, 9F47, 9F48."""

_ISSUER_EXPIRY: Final = "1249"
_CA_EXPIRY: Final = "491231"
_DAC: Final = b"\xda\xc1"
_SM2: Final = "sm4"


def ca_keys() -> tuple[CaKey, ...]:
    """The public keys of the test CAs, as a terminal loads them."""
    rid = bytes.fromhex(RID)
    keys = []
    for index, key in zip(CA_RSA, pool().ca, strict=True):
        bare = CaKey(rid, index, "rsa", key.modulus, key.exponent, _CA_EXPIRY)
        keys.append(CaKey(rid, index, "rsa", key.modulus, key.exponent, _CA_EXPIRY, checksum(bare)))
    keys.append(CaKey(rid, CA_SM2, "sm2", ca_sm2().public, b"", _CA_EXPIRY))
    return tuple(keys)


class Authority:
    """The issuers' keys and their certificates under the test CAs; `secret` is derived from the seed."""

    __slots__ = ("_rsa", "_secret", "_sm2")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._rsa: dict[str, tuple[RsaKey, Certificates]] = {}
        self._sm2: dict[str, tuple[sm2.Sm2Key, Certificates]] = {}

    def derive(self, *parts: str) -> bytes:
        """32 bytes for a purpose: a key seed, a nonce, a choice."""
        return hmac.digest(self._secret, "/".join(parts).encode(), "sha256")

    def rsa_issuer(self, institution: str, prefix: str) -> tuple[RsaKey, Certificates]:
        """An issuer's RSA key and its certificate, for card numbers that begin with `prefix` (eight digits)."""
        made = self._rsa.get(prefix)
        if made is None:
            which = self.derive("issuer", institution)
            key = pool().issuer[which[0] % len(pool().issuer)]
            ca = which[1] % len(CA_RSA)
            cert = certify.issue_issuer_certificate(pool().ca[ca], key, prefix, _ISSUER_EXPIRY, which[2:5])
            made = (key, _issuer_elements(CA_RSA[ca], cert))
            self._rsa[prefix] = made
        return made

    def sm2_issuer(self, institution: str, prefix: str) -> tuple[sm2.Sm2Key, Certificates]:
        """The same with SM2."""
        made = self._sm2.get(prefix)
        if made is None:
            key = sm2.key_from_seed(self.derive("issuer", institution, "sm2"))
            serial, nonce = self.derive("issuer", prefix)[:3], self.derive("issuer", prefix, "nonce")
            cert = certify.issue_issuer_certificate(ca_sm2(), key, prefix, _ISSUER_EXPIRY, serial, nonce)
            made = (key, _issuer_elements(CA_SM2, cert))
            self._sm2[prefix] = made
        return made


def _issuer_elements(index: int, cert: certify.Certificate) -> Certificates:
    elements = {"8F": bytes((index,)), "90": cert.certificate}
    if cert.remainder:
        elements["92"] = cert.remainder
    if cert.exponent:
        elements["9F32"] = cert.exponent
    return elements


class Signer:
    """What one card signs with, and who vouches for it."""

    __slots__ = ("_authority", "_institution", "_pan", "_rsa", "_sm2")

    def __init__(self, authority: Authority, institution: str, pan: str) -> None:
        self._authority = authority
        self._institution = institution
        self._pan = pan
        self._rsa: RsaKey | None = None
        self._sm2: sm2.Sm2Key | None = None

    def key(self, suite: str) -> RsaKey | sm2.Sm2Key:
        """The card's key beside a symmetric suite: RSA with 3des, SM2 with sm4."""
        if suite == _SM2:
            if self._sm2 is None:
                self._sm2 = sm2.key_from_seed(self._authority.derive("icc", self._pan))
            return self._sm2
        return self._rsa_key()

    def _rsa_key(self) -> RsaKey:
        if self._rsa is None:
            keys = pool().icc
            self._rsa = keys[int.from_bytes(self._authority.derive("icc", self._pan)[:4], "big") % len(keys)]
        return self._rsa

    @property
    def modulus_bytes(self) -> int:
        """The length of the card's RSA key."""
        return self._rsa_key().size

    def certificates(self, suite: str, pan: str, expiry: str, static_data: bytes) -> Certificates:
        """Everything certified for one path; `expiry` YYMM."""
        digest = hashlib.sha256(static_data).hexdigest()
        serial = self._authority.derive("serial", pan)[:3]
        until = expiry[2:] + expiry[:2]
        first, second = (self._authority.derive("nonce", pan, digest, use) for use in ("static", "card"))
        signer: RsaKey | sm2.Sm2Key
        if suite == _SM2:
            signer, elements = self._authority.sm2_issuer(self._institution, pan[:8])
        else:
            signer, elements = self._authority.rsa_issuer(self._institution, pan[:8])
        cert = certify.issue_icc_certificate(signer, self.key(suite), pan, until, serial, static_data, second)
        own = {"93": certify.sign_static_data(signer, _DAC, static_data, first), "9F46": cert.certificate}
        if cert.exponent:
            own["9F47"] = cert.exponent
        if cert.remainder:
            own["9F48"] = cert.remainder
        return {**elements, **own}

    def sign_dynamic(self, suite: str, atc: bytes, terminal: bytes, nonce: bytes) -> bytes:
        """Signed dynamic data over the terminal's data."""
        return certify.sign_dynamic(self.key(suite), atc, terminal, nonce)

    def sign_cda(
        self, suite: str, atc: bytes, cid: int, ac: bytes, exchanged: bytes, unpredictable: bytes, nonce: bytes
    ) -> bytes:
        """Signed dynamic data around a cryptogram."""
        return certify.sign_cda(self.key(suite), atc, cid, ac, exchanged, unpredictable, nonce)

    def decipher(self, data: bytes) -> bytes:
        """A block under the public key opened with the private one; empty if it is larger than the modulus."""
        key = self._rsa_key()
        if int.from_bytes(data, "big") >= key.n:
            return b""
        return rsa.sign(key, data)
