"""SM2 signatures (GB/T 32918.2) over SM3, with the nonce as an argument. Points are 64 bytes, x and y, no prefix.

Who computes is `sm2_provider`'s affair; the digest, the ranges and the curve are checked here for all of them.
"""

from typing import NamedTuple

from switch.crypto.digest import sm3
from switch.crypto.errors import CryptoError
from switch.crypto.sm2_provider import A, B, G, N, P, Provider, chosen

USER_ID = b"1234567812345678"
"""The signer's name where nothing else is agreed (GM/T 0009); the one that chip cards use."""
_CURVE = A.to_bytes(32, "big") + B.to_bytes(32, "big") + G


class Sm2Key(NamedTuple):
    """A signing key: 32 bytes and its point."""

    private: bytes
    public: bytes

    def __repr__(self) -> str:
        return "Sm2Key()"


def key_from_seed(seed: bytes) -> Sm2Key:
    """The key that 32 bytes of entropy or derivation stand for: any 32 bytes give one, evenly."""
    if len(seed) != 32:
        raise CryptoError(f"an SM2 key is derived from 32 bytes, not {len(seed)}")
    return key(((int.from_bytes(seed, "big") % (N - 2)) + 1).to_bytes(32, "big"))


def key(private: bytes) -> Sm2Key:
    """The key of a private number from 1 to N - 2; CryptoError for any other."""
    number = _private(private)
    return Sm2Key(private, chosen().public_key(number))


def _private(private: bytes) -> int:
    number = int.from_bytes(private, "big")
    if len(private) != 32 or not 1 <= number <= N - 2:
        raise CryptoError("an SM2 private key has 32 bytes and lies between 1 and the order of the curve")
    return number


def on_curve(public: bytes) -> bool:
    """Whether 64 bytes are a point of the curve."""
    if len(public) != 64:
        return False
    x, y = int.from_bytes(public[:32], "big"), int.from_bytes(public[32:], "big")
    return x < P and y < P and (y * y - (x * x + A) * x - B) % P == 0


def normalised(public: bytes) -> bytes:
    """A point as 64 bytes, from 65 with the prefix 04 or from 64, which may well begin with 04 themselves."""
    if len(public) == 65 and public[0] == 4:
        public = public[1:]
    if not on_curve(public):
        raise CryptoError("not a point of the SM2 curve")
    return public


def z(public: bytes, user_id: bytes = USER_ID) -> bytes:
    """Z: the digest of the signer's name, the curve and the signer's point."""
    if len(user_id) > 0xFFFF // 8:
        raise CryptoError("the name of an SM2 signer has 8191 bytes at most")
    return sm3((len(user_id) * 8).to_bytes(2, "big") + user_id + _CURVE + public)


def digest(public: bytes, message: bytes, user_id: bytes = USER_ID) -> bytes:
    """e: the digest of Z and message, which is what is signed."""
    return sm3(z(public, user_id) + message)


def sign_digest(private: bytes, e: bytes, nonce: bytes, by: Provider | None = None) -> bytes:
    """The signature (r and s, 64 bytes) over a digest. `nonce`: 32 bytes from the entropy door, never used twice."""
    if len(e) != 32 or len(nonce) != 32:
        raise CryptoError("an SM2 signature takes a digest and a nonce of 32 bytes each")
    number = int.from_bytes(nonce, "big") % N
    signature = (by or chosen()).sign_digest(_private(private), e, number) if number else None
    if signature is None:
        raise CryptoError("this nonce gives no SM2 signature; take another")
    return signature


def sign(signer: Sm2Key, message: bytes, nonce: bytes, user_id: bytes = USER_ID) -> bytes:
    """The signature over a message, 64 bytes; see `sign_digest` for the nonce."""
    return sign_digest(signer.private, digest(signer.public, message, user_id), nonce)


def verify_digest(public: bytes, e: bytes, signature: bytes, by: Provider | None = None) -> bool:
    """Whether a signature over a digest is right; False for whatever is no point, no digest or no signature."""
    if len(signature) != 64 or len(e) != 32 or not on_curve(public):
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < N and 0 < s < N and (r + s) % N):
        return False
    return (by or chosen()).verify_digest(public, e, signature)


def verify(public: bytes, message: bytes, signature: bytes, user_id: bytes = USER_ID) -> bool:
    """Whether a signature over a message is right."""
    return verify_digest(public, digest(public, message, user_id), signature)
