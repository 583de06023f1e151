"""Known answers of chip cards under shared keys: card and session keys, cryptograms, scripts, and a tap's decision."""

from collections.abc import Callable, Mapping
from functools import partial

from switch.app.kat_inputs import Answers, Inputs, VectorError
from switch.crypto import block, cryptogram, mac, script
from switch.crypto.cryptogram import CardKey, SessionKey
from switch.wire import qpboc

_TRANSACTION = ("9F02", "9F03", "9F1A", "95", "5F2A", "9A", "9C", "9F37", "82")


def _atc(given: Inputs) -> int:
    return int.from_bytes(given.sized("atc", 2), "big")


def _psn(given: Inputs) -> str:
    return given.text("psn") if given.has("psn") else "00"


def _option(given: Inputs) -> str:
    return given.text("option").upper() if given.has("option") else "A"


def _udk(given: Inputs, suite: str, parity: bool = False) -> bytes:
    imk = given.octets("imk")
    if given.has("pan") or not given.has("X"):
        return cryptogram.card_key(suite, imk, given.text("pan"), _psn(given), _option(given), parity)
    x = given.sized("X", 8)
    complement = bytes(byte ^ 0xFF for byte in x)
    key = block.ecb_encryptor(suite, imk)(x + complement)
    return block.adjust_parity(key) if parity else key


def _udk_3des(given: Inputs) -> Answers:
    return {
        "udk_no_parity": lambda: _udk(given, "3des"),
        "udk_odd_parity": lambda: _udk(given, "3des", parity=True),
    }


def _udk_sm4(given: Inputs) -> Answers:
    return {"udk": lambda: _udk(given, "sm4")}


def _common_session_key(given: Inputs) -> Answers:
    def card() -> bytes:
        return _udk(given, "3des")

    def session() -> bytes:
        return cryptogram.emv_session_key(card(), given.octets("r"))

    def arqc() -> bytes:
        pad, data = given.octets("pad", b"\x80"), given.octets("data")
        if pad not in (b"\x00", b"\x80"):
            raise VectorError("input pad is neither 00 nor 80")
        padded = mac.pad_zero(data, 8) if pad == b"\x00" else mac.pad_one_zero(data, 8)
        return SessionKey("3des", session()).mac(padded)

    def method_2(proprietary: bytes) -> bytes:
        return SessionKey("3des", session()).arpc_csu(arqc(), given.octets("csu"), proprietary)

    return {
        "icc_mk_kcv": lambda: block.kcv("3des", card(), 2),
        "sk_kcv": lambda: block.kcv("3des", session(), 2),
        "arqc": arqc,
        "arpc1_mk": lambda: cryptogram.arpc("3des", card(), arqc(), given.octets("arc")),
        "arpc1_sk": lambda: cryptogram.arpc("3des", session(), arqc(), given.octets("arc")),
        "arpc2": lambda: method_2(b""),
        "arpc2_pad": lambda: method_2(given.octets("prop_auth")),
    }


def _pboc_arqc(given: Inputs) -> Answers:
    suite = given.chip_suite()

    def session() -> bytes:
        return cryptogram.session_key(suite, given.octets("udk_ac"), _atc(given))

    def arqc() -> bytes:
        return cryptogram.application_cryptogram(suite, session(), given.octets("ac_data"))

    return {
        "skac": session,
        "arqc": arqc,
        "arpc": lambda: cryptogram.arpc(suite, session(), arqc(), given.octets("arc")),
    }


class _Transaction:
    """One card's transaction, each part computed when it is asked for."""

    def __init__(self, given: Inputs) -> None:
        self.given = given
        self.suite = given.chip_suite()
        self.atc = _atc(given)

    def key(self, use: str) -> bytes:
        return cryptogram.session_key(self.suite, self.given.octets(f"udk_{use}"), self.atc)

    def session(self, use: str) -> SessionKey:
        return CardKey(self.suite, self.given.octets(f"udk_{use}")).session(self.atc)

    def iad_mac_input(self) -> bytes:
        return cryptogram.iad_mac_input(self.atc, self.given.sized("balance5", 5))

    def iad(self) -> bytes:
        given = self.given
        head = b"\x07\x01" + given.sized("cvn", 1) + given.sized("cvr", 4)
        head += given.octets("alg", cryptogram.ALGORITHM_BYTE[self.suite])
        if not given.has("balance5"):
            return head
        balance = given.sized("balance5", 5)
        return head + b"\x0a\x01" + balance + self.session("mac").iad_mac(self.atc, balance)

    def ac_input(self) -> bytes:
        given = self.given
        values = {tag: given.octets(tag) for tag in _TRANSACTION if given.has(tag)}
        values["9F36"] = given.octets("atc")
        # The cryptogram takes no more of the issuer data than its first 8 bytes, so the MAC key may be absent.
        issuer = b"\x07\x01" + given.sized("cvn", 1) + given.sized("cvr", 4)
        return cryptogram.ac_input(issuer[2], values, issuer)

    def ac(self) -> bytes:
        return self.session("ac").cryptogram(self.ac_input())

    def arpc(self) -> bytes:
        return self.session("ac").arpc(self.ac(), self.given.octets("arc"))

    def script(self) -> script.Script:
        encipherment = self.session("enc") if self.given.has("udk_enc") else None
        return script.Script(self.session("mac"), self.atc, self.ac(), encipherment)

    def load(self) -> bytes:
        return self.script().put_data("9F79", self.given.octets("new_balance_9F79"))

    def pin_part(self) -> bytes:
        return CardKey(self.suite, self.given.octets("udk_enc")).pin_part

    def answers(self) -> Answers:
        return {
            **{f"sk_{use}": partial(self.key, use) for use in ("ac", "mac", "enc")},
            "iad_mac_input": self.iad_mac_input,
            "iad": self.iad,
            "ac_input": self.ac_input,
            "ac": self.ac,
            "arpc": self.arpc,
            "tag91": lambda: self.arpc() + self.given.octets("arc"),
            "script_put_9F79": self.load,
            "tag72": lambda: script.template([self.load()]),
            "script_app_unblock": lambda: self.script().app_unblock(),
            "script_app_block": lambda: self.script().app_block(),
            "script_card_block": lambda: self.script().card_block(),
            "script_pin_unblock": lambda: self.script().pin_unblock(),
            "pin_change_block": lambda: script.pin_block(self.pin_part(), self.given.text("new_pin")),
            "script_pin_change_P2_02": lambda: self.script().pin_change(self.pin_part(), self.given.text("new_pin")),
        }


def _pboc_transaction(given: Inputs) -> Answers:
    return _Transaction(given).answers()


def _pin_change(given: Inputs) -> Answers:
    def pin_block() -> bytes:
        current = given.text("cur") if given.has("cur") else None
        return script.pin_block(given.sized("icc_mk_ac", 16)[4:8], given.text("pin"), current)

    return {"block": pin_block}


def _decision(given: Inputs) -> Answers:
    tap = qpboc.Tap(
        ttq=given.sized("9F66", 4),
        amount_minor=given.number("9F02_fen"),
        balance_minor=given.number("9F79_fen", 10_000),
        single_max=given.number("9F78_fen", 1_000),
        reset_threshold=given.number("9F6D_fen", 1_500),
        cvm_limit=given.number("9F6B_fen", 1_100),
        processing=given.sized("9F68", 4) if given.has("9F68") else bytes.fromhex("9900F000"),
        currency_matches=given.flag("ccy_match", True),
        last_online_atc=given.number("9F13", 1),
        pin_tries_exceeded=given.flag("pin_try_exceeded", False),
    )
    decision = qpboc.decide(tap)
    return {"result": lambda: decision.result, "9F6C_B1": lambda: bytes((decision.ctq,))}


KINDS: Mapping[str, Callable[[Inputs], Answers]] = {
    "udk-3des": _udk_3des,
    "udk-sm4": _udk_sm4,
    "emv-common-session-key": _common_session_key,
    "pboc-arqc": _pboc_arqc,
    "pboc-transaction": _pboc_transaction,
    "pin-change-block": _pin_change,
    "qpboc-gpo-decision": _decision,
}
