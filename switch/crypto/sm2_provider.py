"""Who computes on the SM2 curve: tongsuopy where it is installed (0.3 ms an operation), gmssl otherwise (3 to 9 ms).

Both stand behind the same three methods, take the nonce of a signature as an argument and so give the same bytes.
Which one: the faster that is there, or the one that the environment variable SHOUDAN_SM2 names.
"""

import os
from functools import lru_cache
from typing import Any, Protocol

from gmssl.sm2 import CryptSM2, default_ecc_table

from switch.crypto.errors import CryptoError

P = int(default_ecc_table["p"], 16)
A = int(default_ecc_table["a"], 16)
B = int(default_ecc_table["b"], 16)
N = int(default_ecc_table["n"], 16)
G = bytes.fromhex(default_ecc_table["g"])
NAMES = ("tongsuopy", "gmssl")
"""The providers, fastest first."""


class Provider(Protocol):
    """Arithmetic of keys and signatures: 32-byte digests `e`, 64-byte points and signatures, numbers in 1 to N - 1."""

    name: str

    def public_key(self, private: int) -> bytes:
        """The point of a private key."""

    def sign_digest(self, private: int, e: bytes, nonce: int) -> bytes | None:
        """r and s; None for the nonce (one in 2^256) that gives none."""

    def verify_digest(self, public: bytes, e: bytes, signature: bytes) -> bool:
        """Whether the signature is right; `public` is on the curve, r and s are in range."""


class Gmssl:
    """gmssl 3.2.2, pure Python.

    Its constructor strips the leading 0 and 4 digits of a public key, where it means the prefix 04: keys are put in
    behind it, whole. Its nonces come from `random`: it is always given one.
    """

    name = "gmssl"

    def _crypt(self, private: int, public: bytes) -> CryptSM2:
        crypt = CryptSM2(f"{private:064x}", "")
        crypt.public_key = public.hex()
        return crypt

    def public_key(self, private: int) -> bytes:
        """The point of a private key."""
        return bytes.fromhex(self._crypt(private, G)._kg(private, G.hex()))

    def sign_digest(self, private: int, e: bytes, nonce: int) -> bytes | None:
        """r and s."""
        signature = self._crypt(private, G).sign(e, f"{nonce:064x}")
        return None if signature is None else bytes.fromhex(signature)

    def verify_digest(self, public: bytes, e: bytes, signature: bytes) -> bool:
        """Whether the signature is right."""
        try:
            return bool(self._crypt(1, public).verify(signature.hex(), e))
        except TypeError:  # it has no notation for the point at infinity and stumbles over it
            return False


class Tongsuo:
    """tongsuopy 1.0.1: the C library, used through its bindings, because its signing draws its own nonces."""

    name = "tongsuopy"

    def __init__(self) -> None:
        # Here and not above: it takes 50 ms to load, and most processes never sign.
        from tongsuopy.backends.tongsuo.backend import backend
        from tongsuopy.crypto.asymciphers.ec import SM2

        self._lib: Any = backend._lib
        self._ffi: Any = backend._ffi
        group = self._lib.EC_GROUP_new_by_curve_name(backend._elliptic_curve_to_nid(SM2()))
        self._group: Any = self._ffi.gc(group, self._lib.EC_GROUP_free)
        if self.public_key(1) != G:
            raise ImportError("tongsuopy does not know the SM2 curve")

    def _number(self, value: int) -> Any:
        return self._ffi.gc(self._lib.BN_bin2bn(value.to_bytes(32, "big"), 32, self._ffi.NULL), self._lib.BN_clear_free)

    def _multiply(self, times_g: int, point: bytes = G, times_point: int = 0) -> bytes:
        """A multiple of G and one of a point, added, as 64 bytes; empty for the point at infinity.

        A multiple of G alone would go the library's way of constant time, which takes a third longer: 0.34 ms. What
        signs here are cards made up for tests, and nobody times them.
        """
        lib, ffi = self._lib, self._ffi
        context = ffi.gc(lib.BN_CTX_new(), lib.BN_CTX_free)
        result = ffi.gc(lib.EC_POINT_new(self._group), lib.EC_POINT_clear_free)
        other, factor = ffi.gc(lib.EC_POINT_new(self._group), lib.EC_POINT_free), self._number(times_point)
        if lib.EC_POINT_oct2point(self._group, other, b"\x04" + point, 65, context) != 1:
            lib.ERR_clear_error()
            return b""
        if lib.EC_POINT_mul(self._group, result, self._number(times_g), other, factor, context) != 1:
            lib.ERR_clear_error()
            return b""
        octets = ffi.new("unsigned char[65]")
        length = lib.EC_POINT_point2oct(self._group, result, lib.POINT_CONVERSION_UNCOMPRESSED, octets, 65, context)
        return bytes(octets)[1:] if length == 65 else b""

    def public_key(self, private: int) -> bytes:
        """The point of a private key."""
        return self._multiply(private)

    def sign_digest(self, private: int, e: bytes, nonce: int) -> bytes | None:
        """r and s."""
        r = (int.from_bytes(e, "big") + int.from_bytes(self._multiply(nonce)[:32], "big")) % N
        s = pow(1 + private, -1, N) * (nonce - r * private) % N
        if r == 0 or r + nonce == N or s == 0:
            return None
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def verify_digest(self, public: bytes, e: bytes, signature: bytes) -> bool:
        """Whether the signature is right."""
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        t = (r + s) % N
        point = self._multiply(s, public, t) if t else b""
        return bool(point) and (int.from_bytes(e, "big") + int.from_bytes(point[:32], "big")) % N == r


@lru_cache(maxsize=2)
def provider(name: str) -> Provider:
    """The provider called `name`, one of NAMES; CryptoError if it is not installed or does not work."""
    if name == "gmssl":
        return Gmssl()
    try:
        if name == "tongsuopy":
            return Tongsuo()
    except (ImportError, AttributeError) as error:
        raise CryptoError(f"SM2 provider {name} is not installed, or not in a version that works: {error}") from None
    raise CryptoError(f"unknown SM2 provider {name!r}; known are {', '.join(NAMES)}")


@lru_cache(maxsize=1)
def chosen() -> Provider:
    """The provider of this process: that of SHOUDAN_SM2, or the first of NAMES that is there."""
    name = os.environ.get("SHOUDAN_SM2", "")
    if name:
        return provider(name)
    try:
        return provider("tongsuopy")
    except CryptoError:
        return provider("gmssl")
