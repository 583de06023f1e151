"""Why a bit is set: the bits of TVR, TSI, CVR, TTQ and 9F6C with the reason each has in this transaction."""

from collections.abc import Mapping
from typing import Any, Final

from switch.wire import bits
from terminals.kernel.session import LOADS, Request
from terminals.look.glass import Taken
from terminals.look.opened import Node, money, note

Texts = Mapping[tuple[int, int], tuple[str, str]]
"""(byte, bit) to the reason in both languages; facts stand in braces."""

_TVR: Final[Texts] = {
    (1, 8): (
        "AIP {aip}与终端性能{capabilities}没有共同的方法",
        "AIP {aip} and capabilities {capabilities} share no method",
    ),
    (1, 7): ("{fault_zh}", "{fault_en}"),
    (1, 6): ("认证所需的数据元不在卡片记录中", "an element that the method needs is not in the records"),
    (1, 5): ("卡号在终端异常文件中", "the card number is on the exception file"),
    (1, 4): ("{fault_zh}", "{fault_en}"),
    (1, 3): ("{fault_zh}", "{fault_en}"),
    (2, 8): ("卡片版本{card_version}, 终端{versions}", "card {card_version}, terminal {versions}"),
    (2, 7): ("交易日期{date}在失效日期之后", "the day {date} is after the expiration date"),
    (2, 6): ("交易日期{date}在生效日期之前", "the day {date} is before the effective date"),
    (2, 5): ("9F07为{usage}, 交易类型{type}", "9F07 is {usage}, transaction type {type}"),
    (2, 4): ("上次联机ATC为零", "the last online ATC is zero"),
    (3, 8): ("CVM列表中没有一条成功", "no rule of the CVM list succeeded"),
    (3, 7): ("CVM列表中有终端不认识的方法", "the CVM list has a method the terminal does not know"),
    (3, 6): ("卡片PIN尝试次数已用尽", "the card has no PIN try left"),
    (3, 5): ("CVM要求PIN, 终端没有可用的密码键盘", "a rule asks for a PIN and no PIN pad works"),
    (3, 4): ("持卡人未输入PIN", "the holder entered no PIN"),
    (3, 3): ("持卡人输入了PIN, 由发卡行核对", "the holder entered a PIN that the issuer checks"),
    (4, 8): ("金额{amount}不低于最低限额{floor}", "amount {amount} is not under the floor limit {floor}"),
    (4, 7): ("ATC {atc} - 上次联机{last} > 下限{lower}", "ATC {atc} - last online {last} > lower limit {lower}"),
    (4, 6): ("ATC {atc} - 上次联机{last} > 上限{upper}", "ATC {atc} - last online {last} > upper limit {upper}"),
    (4, 5): ("被随机选中", "drawn at random"),
    (4, 4): ("商户要求联机", "the merchant asked for it"),
    (5, 7): ("EXTERNAL AUTHENTICATE未返回9000: ARPC不对", "EXTERNAL AUTHENTICATE was refused: the ARPC is wrong"),
    (5, 6): ("71脚本的一条命令被拒绝", "the card refused a command of script 71"),
    (5, 5): ("72脚本的一条命令被拒绝", "the card refused a command of script 72"),
}
_TSI: Final[Texts] = {
    (1, 8): (
        "AIP {aip}与终端性能{capabilities}有共同的方法",
        "AIP {aip} and capabilities {capabilities} share a method",
    ),
    (1, 7): ("AIP字节1第5位要求, 或为自助取款机", "the AIP (byte 1 bit 5) asks for it, or this is a cash machine"),
    (1, 6): ("卡片已应答GENERATE AC", "the card answered GENERATE AC"),
    (1, 5): ("收到标签91, AIP要求外部认证", "tag 91 came, and the AIP asks for EXTERNAL AUTHENTICATE"),
    (1, 4): ("AIP字节1第4位要求", "the AIP (byte 1 bit 4) asks for it"),
    (1, 3): ("收到发卡行脚本", "a script came"),
}
_CVR: Final[Texts] = {
    (1, 8): ("卡片自己的决定, 见9F27", "the card's decision, as in 9F27"),
    (1, 7): ("卡片自己的决定, 见9F27", "the card's decision, as in 9F27"),
    (1, 6): ("{asked_zh}", "{asked_en}"),
    (1, 5): ("{asked_zh}", "{asked_en}"),
    (1, 4): ("EXTERNAL AUTHENTICATE中ARPC不对", "the ARPC in EXTERNAL AUTHENTICATE was wrong"),
    (1, 3): ("收到VERIFY", "VERIFY came"),
    (1, 2): ("VERIFY中PIN不对", "the PIN in VERIFY was wrong"),
    (1, 1): ("授权响应码为Y3或Z3", "the response code was Y3 or Z3"),
    (2, 8): ("上次联机后没有第二次GENERATE AC", "no second GENERATE AC followed the last online request"),
    (2, 7): ("PIN尝试计数器为零", "the PIN try counter is zero"),
    (2, 6): ("金额或次数超过卡片限额", "amounts or counters exceed the card's limits"),
    (2, 5): ("卡片从未联机成功", "the card has never been online"),
}
_TTQ: Final[Texts] = {
    (2, 8): ("{cryptogram_zh}", "{cryptogram_en}"),
    (2, 7): ("{cvm_zh}", "{cvm_en}"),
}
_CTQ: Final[Texts] = {
    (1, 8): ("终端要求CVM, 或金额超过卡片CVM限额", "the terminal requires a CVM, or the card's CVM limit is exceeded"),
    (1, 7): ("终端要求CVM, 卡片选择签名", "the terminal requires a CVM, and the card chose a signature"),
}
_CARD: Final[Mapping[str, tuple[str, str]]] = {
    "offline": ("余额、单笔限额与重置阈值都允许", "balance, single limit and reset threshold allow it"),
    "online PIN": ("需要联机PIN", "a CVM is needed, and it is the online PIN"),
    "reader asks online": ("9F66要求联机密文", "9F66 asks for an online cryptogram"),
    "currency online only": ("货币不匹配, 只能联机", "another currency goes online only"),
    "currency refused": ("货币不匹配, 卡片拒绝", "the card refuses another currency"),
    "new card": ("新卡", "the card has never been online"),
    "PIN tries exceeded": ("PIN尝试次数用尽", "no PIN try is left"),
    "no amount": ("金额为零", "the amount is zero"),
    "balance": ("余额不足", "the balance does not cover it"),
    "status check": ("状态查询", "a status check"),
    "no offline check": ("卡片没有小额脱机支付(9F68)", "the card does not pay offline (9F68)"),
    "balance or limit": (
        "超过余额、单笔限额, 或低于重置阈值",
        "balance, single limit or reset threshold is against it",
    ),
    "offline total": ("超过累计脱机金额", "the offline total is exceeded"),
    "balance and offline total": ("余额与累计脱机金额都不允许", "balance and offline total are against it"),
    "card prefers contact": ("卡片要求接触式", "the card prefers its contacts"),
    "no CVM in common": ("没有共同支持的持卡人验证", "card and reader share no CVM"),
}
_REST: Final = {
    "TVR": ("", ""),
    "TSI": ("", ""),
    "CVR": ("卡片上次交易留下", "left by an earlier transaction of the card"),
    "TTQ": ("终端的能力", "what the terminal is able to do"),
    "CTQ": ("发卡行写入的个人化数据", "set by the issuer at personalisation"),
}
_TABLES: Final[Mapping[str, Texts]] = {"TVR": _TVR, "TSI": _TSI, "CVR": _CVR, "TTQ": _TTQ, "CTQ": _CTQ}
_KINDS: Final = {0x00: "AAC", 0x40: "TC", 0x80: "ARQC"}
_CODES: Final = (("IAC-denial", "9F0E"), ("IAC-online", "9F0F"), ("IAC-default", "9F0D"))


def set_bits(taken: Taken, fault: dict[str, str] | None) -> dict[str, Any]:
    """Each bit string of the transaction by name: `tag`, `value`, and `set`, its bits with names and reasons.

    `fault`: what was wrong with offline data authentication. A bit of the TVR also tells which action codes hold it.
    """
    values, facts = _strings(taken), _facts(taken, fault)
    found: dict[str, Any] = {}
    for name, (tag, value) in values.items():
        rows = []
        for bit in bits.bits(name, value):
            zh, en = _TABLES[name].get((bit.byte, bit.bit), _REST[name])
            row: Node = {"byte": bit.byte, "bit": bit.bit, "zh": bit.zh, "en": bit.en}
            row |= {"why": note(zh.format(**facts), en.format(**facts))}
            if name == "TVR":
                row["codes"] = _codes(taken, 1 << (8 * (5 - bit.byte) + bit.bit - 1))
            rows.append(row)
        found[name] = {"tag": tag, "value": value.hex().upper(), "set": rows}
    return found


def _strings(taken: Taken) -> dict[str, tuple[str, bytes]]:
    """What there is to be told; after a second GENERATE AC what stood then."""
    presented, done = taken.presented, taken.completed
    iad = (done.values if done else presented.values).get("9F10", b"")
    cvr = {"CVR": ("9F10", iad[3:7])} if len(iad) >= 7 else {}
    if taken.order.interface == "contactless":
        ttq, ctq = presented.values.get("9F66", b""), presented.values.get("9F6C", b"")
        return ({"TTQ": ("9F66", ttq)} if ttq else {}) | ({"CTQ": ("9F6C", ctq)} if ctq else {}) | cvr
    tvr, tsi = (done.tvr, done.tsi) if done else (presented.tvr, presented.tsi)
    return {"TVR": ("95", tvr.to_bytes(5, "big")), "TSI": ("9B", tsi.to_bytes(2, "big"))} | cvr


def _facts(taken: Taken, fault: dict[str, str] | None) -> dict[str, Any]:
    values, request, setting = taken.presented.values, taken.order.request, taken.order.setting
    aid, asked = taken.kernel.parameters.matching(taken.presented.aid), asked_for(taken)
    told_card = (card_decision(taken) or {"why": note("", "")})["why"]
    told = {tag: values.get(tag, b"") for tag in ("82", "9F08", "9F07", "9F36", "9F13", "9F14", "9F23")}
    cryptogram, cvm = _cryptogram(request, setting.tap_floor_minor), _cvm(request, setting.tap_cvm_minor)
    return {
        "aip": told["82"].hex().upper(),
        "capabilities": setting.capabilities,
        "fault_zh": fault["zh"] if fault else "卡片或证书数据不符",
        "fault_en": fault["en"] if fault else "data of card or certificate do not fit",
        "card_version": told["9F08"].hex().upper(),
        "versions": " ".join(version.hex().upper() for version in aid.versions) if aid else "",
        "date": request.date,
        "usage": told["9F07"].hex().upper(),
        "type": f"{request.type_9c:02X}",
        "amount": money(request.amount_minor),
        "floor": money(setting.floor_minor),
        "atc": int.from_bytes(told["9F36"], "big"),
        "last": int.from_bytes(told["9F13"], "big"),
        "lower": int.from_bytes(told["9F14"], "big"),
        "upper": int.from_bytes(told["9F23"], "big"),
        "asked_zh": f"终端请求{asked}, 卡片风险管理" if asked else f"卡片: {told_card['zh']}",
        "asked_en": f"asked for {asked}; the card's own risk management" if asked else f"the card: {told_card['en']}",
        "cryptogram_zh": cryptogram[0],
        "cryptogram_en": cryptogram[1],
        "cvm_zh": cvm[0],
        "cvm_en": cvm[1],
    }


def _cryptogram(request: Request, floor: int) -> tuple[str, str]:
    if request.force_online:
        return "商户要求联机", "the merchant asked for it"
    if request.amount_minor == 0:
        return "金额为零", "the amount is zero"
    if request.amount_minor > floor:
        amount, limit = money(request.amount_minor), money(floor)
        return f"金额{amount}超过脱机限额{limit}", f"amount {amount} exceeds the offline floor limit {limit}"
    return "交易类型不是消费", "the transaction is no purchase"


def _cvm(request: Request, limit: int) -> tuple[str, str]:
    if request.amount_minor >= limit:
        amount, least = money(request.amount_minor), money(limit)
        return f"金额{amount}不低于CVM限额{least}", f"amount {amount} is not under the CVM limit {least}"
    return "取现", "cash is withdrawn"


def asked_for(taken: Taken) -> str:
    """Which cryptogram the terminal asked for first, "" if it never came to that."""
    kinds = [command[2] & 0xC0 for command, _ in taken.said if command[1] == 0xAE]
    return _KINDS.get(kinds[0], "") if kinds else ""


def card_decision(taken: Taken) -> dict[str, Any] | None:
    """What the card decided of a tap, and by which of its rules; None on contacts."""
    decision = taken.decision
    if decision is None:
        return None
    prepaid, _, rule = decision.why.rpartition(": ")
    zh, en = _CARD.get(rule, (rule, rule))
    return {
        "result": decision.result,
        "debit": decision.debit,
        "why": note(f"预付: {zh}" if prepaid else zh, f"prepaid: {en}" if prepaid else en),
    }


def _codes(taken: Taken, mask: int) -> list[str]:
    """The action codes in which a bit of the TVR stands."""
    return [name for name, code in _action_codes(taken) if code & mask]


def _action_codes(taken: Taken) -> list[tuple[str, int]]:
    values, setting = taken.presented.values, taken.order.setting
    absent = {"9F0E": 0}
    found = [
        (name, int.from_bytes(values[tag], "big") if tag in values else absent.get(tag, 0xFFFFFFFFFF))
        for name, tag in _CODES
    ]
    terminal = (
        ("TAC-denial", setting.tac_denial),
        ("TAC-online", setting.tac_online),
        ("TAC-default", setting.tac_default),
    )
    return found + [(name, int(code, 16)) for name, code in terminal]


def action(taken: Taken) -> dict[str, Any] | None:
    """The terminal's action analysis on the contacts: which codes the TVR met, and what was asked for."""
    asked = asked_for(taken)
    if not asked:
        return None
    codes = {name: f"{code:010X}" for name, code in _action_codes(taken)}
    met = [name for name, code in _action_codes(taken) if code & taken.presented.tvr]
    return {"asked": asked, "codes": codes, "met": met, "why": note(*_asked_because(taken, asked, met))}


def _asked_because(taken: Taken, asked: str, met: list[str]) -> tuple[str, str]:
    kernel, request = taken.kernel, taken.order.request
    if asked == "AAC":
        return "TVR命中拒绝代码, 或终端不能联机", "the TVR meets a denial code, or the terminal cannot go online"
    if asked == "TC":
        return "TVR未命中联机代码" if kernel.online_capable else "终端不能联机", (
            "the TVR meets no online code" if kernel.online_capable else "the terminal cannot go online"
        )
    if any(name.endswith("online") for name in met):
        return "TVR命中联机代码", "the TVR meets an online code"
    if request.type_9c in LOADS:
        return "圈存必须联机", "a load goes online"
    if request.force_online:
        return "商户要求联机", "the merchant asked for it"
    if not kernel.offline_capable:
        return "终端仅联机", "the terminal is online only"
    return "电子现金余额将低于重置阈值", "electronic cash would fall under its reset threshold"
