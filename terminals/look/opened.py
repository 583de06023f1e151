"""A data object in words: names, its value masked, and what its bits, lists and codes say, in Chinese and English."""

from collections.abc import Iterable
from typing import Any, Final

from switch.wire import bits, dol, tlv
from switch.wire.errors import TlvError
from switch.wire.redact import STAR, mask_tlv
from switch.wire.tags import show, tag_info

Node = dict[str, Any]
"""`tag`, `zh`, `en`, `value` (hex, masked); perhaps `reading` (text), `notes` (of `zh`, `en`), `inner` (nodes)."""

_AMOUNTS: Final = frozenset(
    ("9F02", "9F03", "9F79", "9F77", "9F78", "9F6D", "9F5D", "9F6B", "9F7B", "9F54", "9F5C", "DF79", "DF77", "DF78")
) | {"DF76", "9F75"}
_ACTION_CODES: Final = frozenset(("9F0D", "9F0E", "9F0F"))
_LISTS: Final = frozenset(("8C", "8D", "9F38", "9F49", "9F4F", "DF4F", "97"))
_CRYPTOGRAMS: Final = {
    0x00: ("应用认证密文AAC: 拒绝", "AAC: declined"),
    0x40: ("交易证书TC: 脱机批准", "TC: approved offline"),
    0x80: ("授权请求密文ARQC: 联机", "ARQC: go online"),
}
_IDD: Final = {
    1: ("电子现金余额", "e-cash balance"),
    2: ("累计脱机金额", "cumulative offline amount"),
    3: ("余额及累计脱机金额", "balance and cumulative offline amount"),
    4: ("累计脱机金额及限额", "cumulative offline amount and its limit"),
    5: ("可用脱机金额", "what is left offline"),
}


def note(zh: str, en: str, at: str = "") -> dict[str, str]:
    """A line in both languages; `at` stands before it: the place of a bit, a tag."""
    return {"at": at, "zh": zh, "en": en} if at else {"zh": zh, "en": en}


def hidden(tag: str, value: bytes) -> str:
    """A value as hex, starred where it must not be seen."""
    text = value.hex().upper()
    return mask_tlv(tlv.write([(tag, value)]))[-len(text) :] if text else ""


def money(minor: int) -> str:
    """Minor units as yuan: "123.45"."""
    return f"{minor // 100:,}.{minor % 100:02d}"


def opened(tag: str, value: bytes, depth: int = 0) -> Node:
    """One data object, with what is inside of a template."""
    info = tag_info(tag)
    text = hidden(tag, value)
    node: Node = {"tag": tag, "zh": info.zh, "en": info.en, "value": text}
    if info.format == "t" and tlv.is_template(tag) and depth < tlv.DEPTH_MAX:
        try:
            node["inner"] = [opened(name, part, depth + 1) for name, part in tlv.read(value)]
            return node
        except TlvError:
            pass
    if STAR in text:
        return node
    reading = _reading(tag, value)
    if reading is not None and reading != text:
        node["reading"] = reading
    notes = list(notes_of(tag, value))
    if notes:
        node["notes"] = notes
    return node


def many(items: Iterable[tuple[str, bytes]]) -> list[Node]:
    """Data objects one after another."""
    return [opened(tag, value) for tag, value in items]


def _reading(tag: str, value: bytes) -> str | None:
    if tag in ("84", "4F", "9F06"):
        return value.decode("ascii") if value.isascii() and value.decode("ascii").isprintable() else None
    text = show(tag, value)
    if text is not None and tag in _AMOUNTS and text.isdecimal():
        return money(int(text))
    return str(int.from_bytes(value, "big")) if tag in ("9F36", "9F13") and len(value) == 2 else text


def notes_of(tag: str, value: bytes) -> list[dict[str, str]]:
    """What the bits, lists and codes of a value say; empty where it has none."""
    table = bits.OF_TAG.get(tag) or ("TVR" if tag in _ACTION_CODES else None)
    if table is not None:
        return [note(bit.zh, bit.en, f"{bit.byte}.{bit.bit}") for bit in _set(table, value)]
    if tag == "9F27" and value:
        names = _CRYPTOGRAMS.get(value[0] & 0xC0)
        return [note(*names)] if names else []
    if tag == "94":
        return _places(value)
    if tag == "8E":
        return _methods(value)
    if tag == "9F34" and len(value) == 3:
        return [note(*_method(value[0], value[1], bits.CVM_RESULTS.get(value[2])))]
    if tag == "9F10":
        return _issuer_data(value)
    return _list(value) if tag in _LISTS else []


def _set(table: str, value: bytes) -> list[bits.Bit]:
    return bits.bits(table, value)


def _places(afl: bytes) -> list[dict[str, str]]:
    found = []
    for at in range(0, len(afl) - 3, 4):
        head, first, last, signed = afl[at : at + 4]
        told = (f"前{signed}条参与认证", f"{signed} signed") if signed else ("", "")
        found.append(note(*told, f"SFI {head >> 3}, {first}-{last}"))
    return found


def _methods(listed: bytes) -> list[dict[str, str]]:
    """The amounts X and Y, then a line for each rule of a CVM list."""
    if len(listed) < 10 or len(listed) % 2:
        return []
    x, y = (money(int.from_bytes(part, "big")) for part in (listed[:4], listed[4:8]))
    rules = [note(*_method(listed[at], listed[at + 1])) for at in range(8, len(listed), 2)]
    return [note("", "", f"X {x}, Y {y}"), *rules]


def _method(rule: int, condition: int, result: tuple[str, str] | None = None) -> tuple[str, str]:
    """A rule with its condition, and what follows when it fails (or, of 9F34, its result)."""
    method = bits.CVM_RULES.get(rule & 0x3F, (f"CVM {rule & 0x3F:02X}",) * 2)
    when = bits.CVM_CONDITIONS.get(condition, (f"条件{condition:02X}", f"condition {condition:02X}"))
    last = result or (("失败则下一条", "else the next") if rule & 0x40 else ("失败即止", "else failed"))
    return f"{method[0]}, {when[0]}, {last[0]}", f"{method[1]}, {when[1]}, {last[1]}"


def _issuer_data(iad: bytes) -> list[dict[str, str]]:
    """Key index, version, CVR bit by bit, algorithm, discretionary data."""
    if len(iad) < 7:
        return []
    found = [note(f"密钥索引 {iad[1]:02X}, 密文版本 {iad[2]:02X}", f"key index {iad[1]:02X}, version {iad[2]:02X}")]
    found += [note(b.zh, b.en, f"CVR {b.byte}.{b.bit}") for b in bits.bits("CVR", iad[3:7])]
    if len(iad) > 7:
        name = {0: "3DES", 1: "3DES", 4: "SM4"}.get(iad[7], f"{iad[7]:02X}")
        found.append(note(f"算法 {name}", f"algorithm {name}"))
    if len(iad) > 14 and iad[9] in _IDD:
        zh, en = _IDD[iad[9]]
        amount = iad[10:15].hex()
        told = money(int(amount)) if amount.isdecimal() else amount
        found.append(note(f"发卡行自定义数据: {zh} {told}, MAC", f"issuer data: {en} {told}, MAC"))
    return found


def _list(value: bytes) -> list[dict[str, str]]:
    """A data object list: what it asks for."""
    try:
        pairs = dol.parse(value)
    except TlvError:
        return []
    return [note(tag_info(tag).zh, tag_info(tag).en, f"{tag}({size})") for tag, size in pairs]
