"""Known answers of ciphers, MACs, PIN blocks, tracks, keys of sign-in and TLV."""

from collections.abc import Callable, Mapping
from functools import partial

from switch.app.kat_inputs import Answers, Inputs, VectorError
from switch.crypto import block, mac, pinblock, track
from switch.crypto.digest import sm3
from switch.wire import tlv


def _sm3(given: Inputs) -> Answers:
    return {"digest": lambda: sm3(given.octets("msg_hex"))}


def _sm4_ecb(given: Inputs) -> Answers:
    def ciphertext() -> bytes:
        encrypt = block.ecb_encryptor("sm4", given.octets("key"))
        data = given.octets("pt")
        for _ in range(given.count("iterations", 1)):
            data = encrypt(data)
        return data

    return {"ct": ciphertext}


def _sm4_cbc(given: Inputs) -> Answers:
    def ciphertext() -> bytes:
        return block.cbc_encrypt("sm4", given.octets("key"), given.octets("iv", bytes(16)), given.octets("pt"))

    return {"ct": ciphertext}


def _kcv(given: Inputs) -> Answers:
    return {
        "kcv_3des": lambda: block.kcv("3des", given.octets("key"), 3),
        "kcv_sm4": lambda: block.kcv("sm4", given.octets("key"), 3),
    }


def _cup_mac(given: Inputs) -> Answers:
    suite, message = given.suite(), given.octets("message")
    cipher = block.cipher(suite, given.octets("key"))
    steps = mac.cup_ecb_steps(cipher, message)
    return {
        "r": lambda: steps.r,
        "a": lambda: steps.a,
        "b": lambda: steps.b,
        "c": lambda: steps.c,
        "de64": lambda: mac.cup_ecb_mac(cipher, message).decode(),
    }


def _alg3_pad1(given: Inputs) -> Answers:
    return {"mac": lambda: mac.iso9797_alg3(given.octets("key"), given.octets("msg_hex"), pad=1)}


def _alg3_pad2(given: Inputs) -> Answers:
    return {"mac": lambda: mac.iso9797_alg3(given.octets("key"), given.octets("msg_hex"), pad=2)}


def _network_mac(given: Inputs) -> Answers:
    suite, key, text = given.suite(), given.octets("key"), given.ascii("text")
    if suite == "sm4":
        last = mac.sm4_cbc_mac(key, text)
    else:
        last = mac.x9_9(key, text) if len(key) == 8 else mac.x9_19(key, text)
    return {"cbc": lambda: last, "de128": lambda: mac.message_mac("network", suite, key)(text).decode()}


def _pin_iso0(given: Inputs) -> Answers:
    return {"block": lambda: pinblock.encode("iso0", given.text("pin"), given.text("pan"))}


def _pin_iso2(given: Inputs) -> Answers:
    return {"block": lambda: pinblock.encode("iso2", given.text("pin"))}


def _pin_iso4_pan(given: Inputs) -> Answers:
    return {"field": lambda: pinblock.iso4_pan_field(given.text("pan"))}


# Length of DE62 to the length of each key in it; behind each key stand 4 bytes of check value.
_SIGNIN_LAYOUTS = {24: (8, 8), 36: (8, 8, 8), 40: (16, 16), 56: (24, 24), 60: (16, 16, 16), 84: (24, 24, 24)}


def _signin_keys(given: Inputs) -> Answers:
    suite, de62 = given.suite(), given.octets("de62")
    tmk = block.cipher(suite, given.octets("tmk"))
    lengths = _SIGNIN_LAYOUTS.get(len(de62))
    if lengths is None:
        raise VectorError(f"no key layout of DE62 has {len(de62)} bytes")
    answers: Answers = {}
    valid = True
    at = 0
    for name, length in zip(("pik", "mak", "tdk"), lengths, strict=False):
        wrapped, check = de62[at : at + length], de62[at + length : at + length + 4]
        at += length + 4
        if suite == "3des" and length == 16 and not any(wrapped[8:]):
            wrapped = wrapped[:8]
        key = tmk.decrypt(wrapped)
        answers[name] = partial(bytes, key)
        valid = valid and block.kcv(suite, key) == check
    answers["valid"] = partial(bool, valid)
    return answers


def _track(given: Inputs) -> Answers:
    cipher, clear = block.cipher(given.suite(), given.octets("tdk")), given.text("track2")
    return {
        "block": lambda: bytes.fromhex(track.cut(clear, cipher.block).block),
        "encrypted": lambda: track.encrypt_track(cipher, clear),
    }


def _tlv(given: Inputs) -> Answers:
    def elements() -> tlv.Items:
        data = given.octets("hex")
        return tlv.read(data, size_max=max(len(data), tlv.SIZE_MAX))

    return {"tlv": elements}


KINDS: Mapping[str, Callable[[Inputs], Answers]] = {
    "kcv": _kcv,
    "mac-cup-ecb": _cup_mac,
    "mac-iso9797-alg3-pad1": _alg3_pad1,
    "mac-iso9797-alg3-pad2": _alg3_pad2,
    "mac-network": _network_mac,
    "pinblock-iso0": _pin_iso0,
    "pinblock-iso2": _pin_iso2,
    "pinblock-iso4-pan-field": _pin_iso4_pan,
    "signin-keys": _signin_keys,
    "sm3": _sm3,
    "sm4-cbc": _sm4_cbc,
    "sm4-ecb": _sm4_ecb,
    "tlv": _tlv,
    "track-encrypt": _track,
}
