"""Known answers of offline data authentication: CA keys, RSA and SM2 certificates, signed static and dynamic data."""

from collections.abc import Callable, Mapping

from switch.app.kat_inputs import Answers, Inputs, Leading, VectorError
from switch.crypto import certify, oda, rsa, sm2
from switch.crypto.oda import CaKey, PublicKey
from switch.crypto.rsa import RsaKey
from switch.crypto.sm2 import Sm2Key
from switch.crypto.unionpay import ca_key


def _point(given: Inputs, name: str) -> bytes:
    """An SM2 public key: 64 bytes, or 65 with the prefix 04."""
    value = given.octets(name)
    return value[1:] if len(value) == 65 and value[0] == 4 else given.sized(name, 64)


def _issued(given: Inputs, name: str) -> PublicKey:
    """An SM2 key given as a point, for what is signed under it."""
    return PublicKey("sm2", _point(given, name), b"", "", "", "")


def _capk(given: Inputs) -> Answers:
    def sha1() -> bytes:
        index = given.sized("index", 1)[0]
        return oda.checksum(CaKey(given.sized("rid", 5), index, "rsa", given.octets("mod"), given.octets("exp")))

    return {"sha1": sha1}


def _published(given: Inputs, name: str, kind: str) -> CaKey:
    key = ca_key(given.sized(name, 1)[0])
    if key is None or key.kind != kind:
        raise VectorError(f"input {name} names no published {kind} key")
    return key


class _Chain:
    """Issuer certificate, and what else is given under it."""

    def __init__(self, given: Inputs) -> None:
        self.given = given
        remainder, exponent = given.octets("92", b""), given.octets("9F32", b"")
        self.issuer = oda.open_issuer(_published(given, "ca", "rsa"), given.octets("90"), remainder, exponent)

    def issuer_key(self) -> PublicKey:
        if self.issuer.key is None:
            raise VectorError("the issuer certificate does not open")
        return self.issuer.key

    def icc(self) -> oda.Opened:
        given = self.given
        remainder, exponent = given.octets("9F48", b""), given.octets("9F47", b"")
        static_data = given.octets("static_data", b"")
        return oda.open_icc(self.issuer_key(), given.octets("9F46"), remainder, exponent, static_data)

    def icc_key(self) -> PublicKey:
        key = self.icc().key
        if key is None:
            raise VectorError("the ICC certificate does not open")
        return key

    def static(self) -> oda.Signed:
        return oda.open_static(self.issuer_key(), self.given.octets("93"), self.given.octets("static_data", b""))

    def dynamic(self) -> oda.Signed:
        return oda.open_dynamic(self.icc_key(), self.given.octets("sdad"), self.given.octets("ddol_data", b""))

    def valid(self) -> bool:
        """Whether everything that is given verifies."""
        if self.issuer.fault:
            return False
        if self.given.has("93") and self.static().fault:
            return False
        if self.given.has("9F46") and self.icc().fault:
            return False
        return not (self.given.has("sdad") and self.dynamic().fault)

    def answers(self) -> Answers:
        return {
            "issuer_pub": lambda: self.issuer_key().modulus,
            "icc_pub": lambda: self.icc_key().modulus,
            "issuer_id": lambda: self.issuer_key().holder,
            "issuer_serial": lambda: self.issuer_key().serial,
            "dac": lambda: self.static().data,
            "recovered_sdad_prefix": lambda: Leading(self.dynamic().clear),
            "idn": lambda: self.dynamic().number,
            "valid": self.valid,
        }


def _chain(given: Inputs) -> Answers:
    return _Chain(given).answers()


def _rsa_key(given: Inputs) -> RsaKey:
    p, q = (int.from_bytes(given.octets(name), "big") for name in ("p", "q"))
    if p < 3 or q < 3 or p == q:
        raise VectorError("input p or q is no prime of an RSA key")
    key = rsa.key_from_primes(p, q, int.from_bytes(given.octets("icc_e"), "big"))
    if given.has("icc_n") and int.from_bytes(given.octets("icc_n"), "big") != key.n:
        raise VectorError("input icc_n is not the product of p and q")
    return key


def _number(given: Inputs) -> bytes:
    """The dynamic number: 9F4C where it is given, the ATC otherwise."""
    return given.octets("9F4C") if given.has("9F4C") else given.sized("9F36", 2)


def _terminal_data(given: Inputs) -> bytes:
    """With the card's authentication data (9F69) at its end, whether or not it stands there already."""
    data, card = given.octets("terminal_data"), given.octets("9F69", b"")
    return data if data.endswith(card) else data + card


def _rsa_dynamic(given: Inputs) -> Answers:
    key, data = _rsa_key(given), certify.dynamic_data(_number(given))
    return {
        "clear_block": lambda: certify.dynamic_block(key, data, _terminal_data(given)),
        "9F4B": lambda: certify.sign_dynamic(key, _number(given), _terminal_data(given)),
    }


def _hashed(given: Inputs) -> bytes:
    """What the inner hash of CDA covers."""
    parts = [given.octets(name, b"") for name in ("pdol_values", "cdol1_values", "cdol2_values")]
    return b"".join(parts) + given.octets("resp_tlvs")


def _cda_data(given: Inputs, kind: str) -> bytes:
    cid, ac = given.sized("9F27", 1)[0], given.sized("9F26", 8)
    if given.has("txn_hash") and not given.has("resp_tlvs"):
        inner = given.octets("txn_hash")
    else:
        inner = oda.transaction_hash(kind, _hashed(given))
    if given.has("txn_hash") and given.octets("txn_hash") != inner:
        raise VectorError("input txn_hash is not the hash of the transaction's values")
    return certify.combined_data(_number(given), cid, ac, inner)


def _rsa_cda(given: Inputs) -> Answers:
    key = _rsa_key(given)

    def clear() -> bytes:
        return certify.dynamic_block(key, _cda_data(given, "rsa"), given.octets("terminal_data"))

    return {"clear_block": clear, "9F4B": lambda: rsa.sign(key, clear())}


def _sm2_key(given: Inputs) -> Sm2Key:
    key = sm2.key(given.octets("icc_priv"))
    if given.has("icc_pub") and _point(given, "icc_pub") != key.public:
        raise VectorError("input icc_pub does not belong to icc_priv")
    return key


def _sm2_dynamic(given: Inputs) -> Answers:
    def signed() -> bytes:
        return certify.sign_dynamic(_sm2_key(given), _number(given), _terminal_data(given), given.octets("nonce_k"))

    return {"9F4B": signed}


def _sm2_cda_sign(given: Inputs) -> Answers:
    def signed() -> bytes:
        data = _cda_data(given, "sm2")
        return certify.sign_dynamic_data(_sm2_key(given), data, given.octets("un"), given.octets("nonce_k"))

    return {"txn_hash": lambda: _cda_data(given, "sm2")[-32:], "9F4B": signed}


def _sm2_cda_verify(given: Inputs) -> Answers:
    message, signature = given.octets("signed_msg"), given.octets("sig")
    length = 2 + message[1] if len(message) > 1 else 0
    un = message[length:]
    combined, signed = oda.open_combined(_issued(given, "icc_pub"), message[:length] + signature, un, None)
    if combined is None:
        return {"valid": lambda: False}
    return {
        "valid": lambda: not signed.fault,
        "atc": lambda: combined.number,
        "cid": lambda: bytes((combined.cid,)),
        "ac": lambda: combined.ac,
        "txn_hash": lambda: combined.hashed,
        "un": lambda: un,
    }


def _sm2_icc(given: Inputs) -> Answers:
    opened = oda.open_icc(
        _issued(given, "issuer_pub"), given.octets("cert9F46"), static_data=given.octets("static_data", b"")
    )

    def public() -> bytes:
        if opened.key is None:
            raise VectorError("the certificate has another length")
        return opened.key.modulus

    return {
        "valid": lambda: not opened.fault,
        "icc_pub": public,
        "icc_priv_matches": lambda: sm2.key(given.octets("icc_priv")).public == public(),
    }


def _sm2_issuer(given: Inputs) -> Answers:
    if given.has("ca_pub"):
        ca = CaKey(b"", 0, "sm2", _point(given, "ca_pub"))
    else:
        ca = _published(given, "ca_index", "sm2")
    user_id = given.ascii("user_id") if given.has("user_id") else sm2.USER_ID
    certificate = given.octets("cert90")
    opened = oda.open_issuer(ca, certificate, user_id=user_id)

    def key() -> PublicKey:
        if opened.key is None:
            raise VectorError("the certificate has another length")
        return opened.key

    return {
        "valid": lambda: not opened.fault,
        "Z_A": lambda: sm2.z(ca.modulus, user_id),
        "e": lambda: sm2.digest(ca.modulus, opened.clear, user_id),
        "issuer_id": lambda: key().holder,
        "expiry": lambda: key().expiry,
        "issuer_pub": lambda: key().modulus,
        "serial": lambda: key().serial,
    }


def _sm2_static(given: Inputs) -> Answers:
    signed = oda.open_static(_issued(given, "issuer_pub"), given.octets("tag93"), given.octets("static_data", b""))
    return {"valid": lambda: not signed.fault, "dac": lambda: signed.data}


def _sm2_verify(given: Inputs) -> Answers:
    def valid() -> bool:
        public = _point(given, "pub") if given.has("pub") else sm2.key(given.octets("priv")).public
        return sm2.verify_digest(public, given.octets("e"), given.octets("sig"))

    return {"valid": valid}


KINDS: Mapping[str, Callable[[Inputs], Answers]] = {
    "capk-checksum": _capk,
    "rsa-certificate-chain": _chain,
    "rsa-dda": _rsa_dynamic,
    "rsa-fdda": _rsa_dynamic,
    "rsa-cda": _rsa_cda,
    "sm2-cda-sign": _sm2_cda_sign,
    "sm2-cda-verify": _sm2_cda_verify,
    "sm2-dynamic-data": _sm2_dynamic,
    "sm2-icc-certificate": _sm2_icc,
    "sm2-issuer-certificate": _sm2_issuer,
    "sm2-signed-static-data": _sm2_static,
    "sm2-verify-digest": _sm2_verify,
}
