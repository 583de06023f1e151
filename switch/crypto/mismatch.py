"""Why a cryptogram does not verify: the usual mistakes tried one at a time, for people who look at a trace.

It takes clear test keys, and so has no place in an issuer that runs; `cardkeys` says yes or no and nothing more.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from switch.crypto import cryptogram
from switch.crypto.cryptogram import AC_INPUTS, SessionKey
from switch.crypto.errors import CryptoError
from switch.crypto.mac import pad_zero


class Cause(NamedTuple):
    """A mistake that gives exactly the cryptogram that came, in Chinese and in English."""

    zh: str
    en: str


class Presented(NamedTuple):
    """A cryptogram as it came, with all it was made of; `iad` is the value of 9F10, `values` tag to value."""

    suite: str
    imk: bytes
    pan: str
    psn: str
    atc: int
    values: Mapping[str, bytes]
    iad: bytes
    ac: bytes

    def __repr__(self) -> str:
        return f"Presented({self.suite})"

    def data(self) -> bytes:
        """What its version covers; CryptoError."""
        return cryptogram.ac_input(self.iad[2] if len(self.iad) > 2 else 0, self.values, self.iad)


def first_difference(ours: bytes, theirs: bytes) -> int:
    """The place of the first byte that differs, -1 if none does."""
    for place, (left, right) in enumerate(zip(ours, theirs, strict=False)):
        if left != right:
            return place
    return -1 if len(ours) == len(theirs) else min(len(ours), len(theirs))


def likely_cause(given: Presented) -> Cause | None:
    """The mistake that explains the cryptogram; None if it is right, or if none of the usual ones was made."""
    data = given.data()
    if _made(given, data) == given.ac:
        return None
    for cause, attempt in _attempts(given, data):
        try:
            if attempt() == given.ac:
                return cause
        except CryptoError:  # this mistake cannot be made with these values
            continue
    return None


def _made(given: Presented, data: bytes) -> bytes:
    udk = cryptogram.card_key(given.suite, given.imk, given.pan, given.psn)
    sk = cryptogram.session_key(given.suite, udk, given.atc)
    return cryptogram.application_cryptogram(given.suite, sk, data)


def _attempts(given: Presented, data: bytes) -> Iterator[tuple[Cause, Callable[[], bytes]]]:
    suite, imk, atc = given.suite, given.imk, given.atc
    other = "sm4" if suite == "3des" else "3des"
    udk = cryptogram.card_key(suite, imk, given.pan, given.psn)
    sk = cryptogram.session_key(suite, udk, atc)
    block = 8 if suite == "3des" else 16
    yield (
        Cause(f"算法应为{other.upper()}", f"made with {other} instead of {suite}"),
        partial(_made, given._replace(suite=other), data),
    )
    for psn in sorted({"00", "01", "02"} - {given.psn}):
        yield (
            Cause(f"卡序列号按{psn}分散", f"card key derived with sequence number {psn}"),
            partial(_made, given._replace(psn=psn), data),
        )
    for step in (-1, 1):
        yield (
            Cause(f"过程密钥的ATC差{step:+d}", f"session key of an ATC {step:+d}"),
            partial(_made, given._replace(atc=atc + step), data),
        )
    yield (
        Cause("直接使用子密钥, 未分散过程密钥", "card key used as it is, without a session key"),
        lambda: cryptogram.application_cryptogram(suite, udk, data),
    )
    yield (
        Cause("使用主密钥, 未分散", "issuer master key used as it is"),
        lambda: cryptogram.application_cryptogram(suite, cryptogram.session_key(suite, imk, atc), data),
    )
    yield (
        Cause("按EMV通用过程密钥分散", "EMV common session key instead of PBOC's"),
        lambda: cryptogram.application_cryptogram(
            suite, cryptogram.emv_session_key(udk, atc.to_bytes(2, "big") + bytes(6)), data
        ),
    )
    yield (
        Cause("填充00而非80", "padded with 00 instead of 80"),
        lambda: SessionKey(suite, sk).mac(pad_zero(data, block))[:8],
    )
    yield from _other_inputs(given, sk)


def _covering(session: SessionKey, cvn: int, values: Mapping[str, bytes], iad: bytes) -> bytes:
    return session.cryptogram(cryptogram.ac_input(cvn, values, iad))


def _other_inputs(given: Presented, sk: bytes) -> Iterator[tuple[Cause, Callable[[], bytes]]]:
    session = SessionKey(given.suite, sk)
    for cvn in AC_INPUTS:
        yield (
            Cause(f"按密文版本{cvn:02X}组数据", f"covers what cryptogram version {cvn:02X} covers"),
            partial(_covering, session, cvn, given.values, given.iad),
        )
    for tag, value in given.values.items():
        if any(value):
            emptied = {**given.values, tag: bytes(len(value))}
            yield (
                Cause(f"{tag}按全零参与计算", f"covers zeros for {tag}"),
                partial(_covering, session, given.iad[2], emptied, given.iad),
            )
