"""Everything about one transaction as one object: what `--json` writes and what the screen shows, masked once."""

from typing import Any

from switch.crypto.cryptogram import suite_of_iad
from switch.crypto.errors import CryptoError
from switch.wire import bits, tlv
from switch.wire.redact import mask_pan
from terminals.kernel.contact import Completed
from terminals.kernel.session import REASONS, Presented
from terminals.look import why
from terminals.look.certificates import certificates, faults
from terminals.look.glass import Taken
from terminals.look.inside import compared, inside
from terminals.look.opened import many, money, note
from terminals.look.said import steps

_CVMS = {
    "none": ("无需验证", "nothing"),
    "online_pin": ("联机PIN", "online PIN"),
    "offline_pin": ("脱机PIN", "offline PIN"),
    "signature": ("签名", "signature"),
    "cdcvm": ("设备验证(CDCVM)", "the device (CDCVM)"),
}
_OUTCOMES = {
    "online": ("联机", "goes online"),
    "approved": ("批准", "approved"),
    "declined": ("拒绝", "declined"),
    "try_other_interface": ("请换接口", "use the other interface"),
    "fallback": ("请刷磁条", "fall back to the stripe"),
    "ended": ("终止", "ended"),
}


def document(taken: Taken, crypto: bool = False) -> dict[str, Any]:
    """The transaction as plain values; card numbers masked wherever they stand. `crypto`: the cryptogram's inside."""
    order, presented = taken.order, taken.presented
    chain = certificates(taken)
    whole: dict[str, Any] = {
        "command": "insert" if order.interface == "contact" else "tap",
        "card": _card(taken),
        "terminal": _terminal(taken),
        "apdus": steps(taken.said),
        "issuer_apdus_from": taken.presented_until + 1 if taken.completed is not None else None,
        "presented": _presented(presented),
        "bits": why.set_bits(taken, faults(chain)),
        "action": why.action(taken),
        "card_decision": why.card_decision(taken),
        "cvm": _cvm(taken),
        "certificates": chain,
        "issuer": compared(taken),
        "completed": _completed(taken.completed),
        "host": taken.host or None,
        "e_cash": {"before_minor": taken.before_minor, "after_minor": taken.after_minor},
        "approved": taken.approved,
    }
    if crypto:
        whole["crypto"] = inside(taken)
    veiled: dict[str, Any] = _veiled(whole, _secrets(taken))
    return veiled


def _secrets(taken: Taken) -> list[tuple[str, str]]:
    """The card's numbers with what stands in their place: certificates hold them where no tag says so."""
    numbers = {taken.order.chosen.issued.pan, taken.order.issued.pan, taken.presented.pan}
    return [(pan, mask_pan(pan)) for pan in numbers if pan]


def _veiled(value: Any, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        for secret, mask in secrets:
            value = value.replace(secret, mask)
        return value
    if isinstance(value, dict):
        return {key: _veiled(part, secrets) for key, part in value.items()}
    return [_veiled(part, secrets) for part in value] if isinstance(value, list) else value


def _card(taken: Taken) -> dict[str, Any]:
    chosen = taken.order.chosen
    profile = chosen.image.profile
    return {
        "source": chosen.source,
        "pan": mask_pan(chosen.issued.pan),
        "psn": chosen.issued.psn,
        "institution": chosen.issued.institution,
        "zh": profile.zh,
        "en": profile.en,
        "interfaces": list(profile.interfaces),
    }


def _terminal(taken: Taken) -> dict[str, Any]:
    request, setting = taken.order.request, taken.order.setting
    return {
        "capabilities": setting.capabilities,
        "capabilities_set": [
            note(bit.zh, bit.en) for bit in bits.bits("TERMINAL", bytes.fromhex(setting.capabilities))
        ],
        "type": setting.terminal_type,
        "ttq": setting.ttq,
        "sm": setting.sm,
        "online": taken.kernel.online_capable,
        "offline": taken.kernel.offline_capable,
        "amount_minor": request.amount_minor,
        "other_minor": request.other_minor,
        "type_9c": f"{request.type_9c:02X}",
        "currency": request.currency,
        "date": request.date,
        "time": request.time,
    }


def _presented(presented: Presented) -> dict[str, Any]:
    outcome = _OUTCOMES[presented.outcome]
    return {
        "outcome": presented.outcome,
        "zh": outcome[0],
        "en": outcome[1],
        "reason": presented.reason,
        "reason_text": note(*REASONS[presented.reason]),
        "aid": presented.aid.hex().upper(),
        "label": presented.label,
        "atc": presented.atc,
        "suite": _suite(presented.values.get("9F10", b"")),
        "e_cash": presented.e_cash,
        "balance_minor": presented.balance_minor,
        "torn": presented.torn,
        "field55": many(_field55(presented.icc_data)),
    }


def _field55(data: bytes) -> list[tuple[str, bytes]]:
    return tlv.read(data) if data else []


def _suite(iad: bytes) -> str:
    try:
        return suite_of_iad(iad) if iad else ""
    except CryptoError:
        return ""


def _cvm(taken: Taken) -> dict[str, Any]:
    """The method that came out, and why: the rule of the card's list, the card's qualifiers, or the terminal's."""
    presented, request = taken.presented, taken.order.request
    zh, en = _CVMS[presented.cvm]
    if taken.order.interface == "contact":
        rule, condition, result = presented.cvm_results.to_bytes(3, "big")
        because = (
            f"9F34 {presented.cvm_results:06X}: {bits.CVM_RULES.get(rule & 63, ('?', '?'))[0]}, "
            f"{bits.CVM_CONDITIONS.get(condition, ('?', '?'))[0]}, {bits.CVM_RESULTS.get(result, ('?', '?'))[0]}",
            f"9F34 {presented.cvm_results:06X}: {bits.CVM_RULES.get(rule & 63, ('?', '?'))[1]}, "
            f"{bits.CVM_CONDITIONS.get(condition, ('?', '?'))[1]}, {bits.CVM_RESULTS.get(result, ('?', '?'))[1]}",
        )
    elif presented.no_pin:
        limit = money(request.small_max)
        because = (
            f"小额双免: 商户已登记, 卡BIN在表内, 金额不超过{limit}",
            f"small sale (双免): enrolled merchant, BIN in the table, amount up to {limit}",
        )
    elif presented.outcome != "online":
        because = ("脱机交易按9F6C, 无需联机PIN", "offline, by 9F6C: no online PIN")
    elif presented.cvm == "online_pin":
        because = ("9F6C要求联机PIN或未选签名, 终端有密码键盘", "9F6C wants a PIN or no signature; there is a PIN pad")
    else:
        because = ("按9F6C与9F66", "by 9F6C and 9F66")
    return {
        "method": presented.cvm,
        "zh": zh,
        "en": en,
        "why": note(*because),
        "pin_entered": bool(presented.pin),
        "no_pin": presented.no_pin,
        "signature": presented.signature,
    }


def _completed(done: Completed | None) -> dict[str, Any] | None:
    if done is None:
        return None
    return {
        "outcome": done.outcome,
        "zh": _OUTCOMES[done.outcome][0],
        "en": _OUTCOMES[done.outcome][1],
        "reason": done.reason,
        "reason_text": note(*REASONS[done.reason]),
        "issuer_authenticated": done.issuer_authenticated,
        "reversal_needed": done.reversal_needed,
        "script_results": done.script_results.hex().upper(),
        "load": done.load,
    }
