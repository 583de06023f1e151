"""A cryptogram from the inside: how its key is derived, what it covers, every block on the way to the eight bytes.

Keys are shown of invented cards only, which everybody can derive from the seed; of a user's card the check value.
"""

from typing import Any, Final

from switch.crypto.block import kcv, suite_of
from switch.crypto.cryptogram import AC_INPUTS, diversifier, session_blocks, steps
from switch.crypto.errors import CryptoError
from switch.crypto.mac import pad_one_zero
from terminals.look.glass import Taken, ac_values
from terminals.look.issuer import Verdict
from terminals.look.opened import note

STARS: Final = "*" * 32
_INVENTED: Final = (
    "虚构卡: 以下密钥由种子派生, 人人可得, 仅供模拟",
    "an invented card: its keys come from the seed, anybody has them; worth nothing outside the simulator",
)
_OWN: Final = ("用户的卡: 密钥只显示校验值", "a card of your own: of its keys only check values are shown")

Row = tuple[str, str, str, str]
"""A step's name in JSON, in Chinese and English, and its value."""


def inside(taken: Taken) -> dict[str, Any] | None:
    """Every intermediate of the transaction's cryptogram and of the ARPC; None where no cryptogram came."""
    verdict, issued = taken.verdict, taken.order.issued
    if verdict is None or not verdict.data:
        return None
    try:
        rows = _shown(taken, verdict) if issued.invented else _masked(taken, verdict)
    except (CryptoError, KeyError):
        return None
    rows.append(("expected", "发卡行算得", "the issuer's result", verdict.expected.hex().upper()))
    rows.append(("presented", "卡片给出(9F26)", "what the card gave (9F26)", verdict.presented.hex().upper()))
    if verdict.arpc:
        crossed = int.from_bytes(verdict.presented, "big") ^ int.from_bytes(verdict.arc.encode(), "big") << 48
        rows.append(
            ("arpc_input", "ARPC输入: 密文异或响应码", "ARPC input: cryptogram crossed with ARC", f"{crossed:016X}")
        )
        rows.append(("arpc", "ARPC", "ARPC", verdict.arpc.hex().upper()))
    return {
        "suite": verdict.suite,
        "keys_shown": issued.invented,
        "notice": note(*(_INVENTED if issued.invented else _OWN)),
        "covers": _covers(taken),
        "steps": [{"name": name, "zh": zh, "en": en, "value": value} for name, zh, en, value in rows],
    }


def _covers(taken: Taken) -> list[str]:
    """The tags in the input, in order, and the part of 9F10."""
    iad = taken.presented.values.get("9F10", b"")
    row = AC_INPUTS.get(iad[2] if len(iad) > 2 else 0)
    return [] if row is None else [*row.tags, f"9F10[{row.start}:{row.end}]"]


def _shown(taken: Taken, verdict: Verdict) -> list[Row]:
    issued = taken.order.issued
    imk = issued.key(verdict.suite, "ac")
    made = steps(verdict.suite, imk, issued.pan, issued.psn, verdict.atc, verdict.data)
    rows: list[Row] = [
        ("master_key", "发卡行主密钥IMK", "issuer master key (IMK)", _hex(imk)),
        (
            "diversifier",
            "分散因子X: 主账号末位与序列号",
            "diversifier X: end of PAN, sequence number",
            _hex(made.diversifier),
        ),
        ("card_key", "卡片子密钥UDK = E(X) E(非X)", "card key (UDK) = E(X) E(not X)", _hex(made.card_key)),
        ("left", "过程密钥左半输入: ATC", "session key, left input: ATC", _hex(made.left)),
        ("right", "过程密钥右半输入: ATC取反", "session key, right input: inverted ATC", _hex(made.right)),
        ("session_key", "过程密钥SK", "session key (SK)", _hex(made.session_key)),
        ("data", "输入数据", "input", _hex(made.data)),
        ("padded", "填充80 00", "padded with 80 00", _hex(made.padded)),
    ]
    for number, block in enumerate(made.chain, 1):
        last = number == len(made.chain)
        zh, en = ("末块(整个SK)", "last block (whole SK)") if last else (f"第{number}块", f"block {number}")
        rows.append((f"block_{number}", zh, en, _hex(block)))
    return rows


def _masked(taken: Taken, verdict: Verdict) -> list[Row]:
    """The same of a user's card: what is no secret, and check values."""
    issued, suite = taken.order.issued, verdict.suite
    both, size = session_blocks(verdict.atc), suite_of(suite).block
    key = issued.key(suite, "ac")
    told = f"{STARS} (KCV {kcv(suite, key, 3).hex().upper()})"
    first: list[Row] = [("card_key", "卡片子密钥UDK", "card key (UDK)", told)]
    if not issued.derived:
        stars = "*" * (2 * len(diversifier(issued.pan, issued.psn)))
        first = [
            ("master_key", "发卡行主密钥IMK", "issuer master key (IMK)", told),
            ("diversifier", "分散因子X: 主账号末位与序列号", "diversifier X: end of PAN, sequence number", stars),
            ("card_key", "卡片子密钥UDK = E(X) E(非X)", "card key (UDK) = E(X) E(not X)", STARS),
        ]
    return [
        *first,
        ("left", "过程密钥左半输入: ATC", "session key, left input: ATC", _hex(both[:8])),
        ("right", "过程密钥右半输入: ATC取反", "session key, right input: inverted ATC", _hex(both[8:])),
        ("session_key", "过程密钥SK", "session key (SK)", STARS),
        ("data", "输入数据", "input", _hex(verdict.data)),
        ("padded", "填充80 00", "padded with 80 00", _hex(pad_one_zero(verdict.data, size))),
    ]


def compared(taken: Taken) -> dict[str, Any] | None:
    """What the issuer found of the cryptogram; on a mismatch the first differing byte and the likely cause."""
    verdict = taken.verdict
    if verdict is None:
        return None
    found: dict[str, Any] = {
        "verified": verdict.verified,
        "suite": verdict.suite,
        "atc": verdict.atc,
        "iad_mac": verdict.iad_mac,
        "arc": verdict.arc,
        "arpc": verdict.arpc.hex().upper(),
    }
    if verdict.fault:
        found["fault"] = verdict.fault
    if not verdict.verified and verdict.expected:
        found["mismatch"] = {
            "expected": verdict.expected.hex().upper(),
            "presented": verdict.presented.hex().upper(),
            "first_difference": verdict.difference,
            "cause": note(*verdict.cause) if verdict.cause else None,
            "values": {
                tag: ac_values(taken).get(tag, b"").hex().upper() for tag in ("9F02", "9F37", "82", "9F36", "9F10")
            },
        }
    return found


def _hex(data: bytes) -> str:
    return data.hex().upper()
