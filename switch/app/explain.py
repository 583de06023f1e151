"""A decoded message in words: each field with its Chinese and English name, the meaning of its codes, and the private
fields and DE55 opened. Everything is masked unless the caller asks otherwise."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from switch.app.explain_private import PRIVATE_NETWORK, PRIVATE_POS, Opener, Part, Scene
from switch.wire import codes, tlv
from switch.wire.codes import Text
from switch.wire.dialects import Dialect
from switch.wire.errors import TlvError, WireError
from switch.wire.message import Message
from switch.wire.redact import STAR, mask_tlv, masked
from switch.wire.tags import show, tag_info

Lang = Literal["zh", "en", "both"]


class Row(NamedTuple):
    """One line: `key` is a DE ("3"), a sub-field ("60.1") or a tag ("9F26"); `depth` says how far it is indented."""

    key: str
    name: Text
    value: str
    meaning: Text | None = None
    depth: int = 0


def in_lang(text: Text | None, lang: Lang) -> str:
    """One language, or both."""
    if text is None:
        return ""
    if lang == "both":
        return text.zh if text.zh == text.en else f"{text.zh} {text.en}".strip()
    return text.zh if lang == "zh" else text.en


def plain(value: Any) -> str:
    """A field's value as text: binary as upper-case hex, as in the message collections."""
    return value.hex().upper() if isinstance(value, bytes) else str(value)


def shown(de: int, value: Any, unsafe: bool) -> str:
    """A field's value as it is printed: masked unless `unsafe`."""
    return plain(value) if unsafe else masked(de, value)


def rows(message: Message, dialect: Dialect, unsafe: bool = False) -> list[Row]:
    """The lines of a message, MTI first, fields in the order of their numbers."""
    scene = Scene(message.mti, message.fields, dialect.name)
    out = [Row("MTI", Text("消息类型", "message type"), message.mti, codes.MTIS.get(message.mti))]
    for de in sorted(message.fields):
        value = message.fields[de]
        row = dialect.row(de)
        out.append(Row(str(de), Text(row["zh"], row["en"]), shown(de, value, unsafe), meaning(scene, de)))
        out += _opened(scene, de, value, unsafe)
    return out


def _opened(scene: Scene, de: int, value: Any, unsafe: bool) -> list[Row]:
    if de == 55 and isinstance(value, bytes):
        return _icc_rows(value, unsafe)
    table: Mapping[int, Opener] = PRIVATE_POS if scene.dialect == "pos" else PRIVATE_NETWORK
    opener = table.get(de)
    if opener is None:
        return []
    try:
        parts = opener(scene, value)
    except WireError as error:
        # The field stands as it came; a private layout that is not known is no fault of the message.
        return [Row("", Text("未能展开", "not opened"), error.reason, None, 1)]
    return [Row(_key(de, part), part.name, part.text(unsafe), part.meaning, 1) for part in parts if part.value.strip()]


def _key(de: int, part: Part) -> str:
    return f"{de}.{part.key}" if part.key else ""


def tags(value: bytes, unsafe: bool = False) -> list[list[str]] | None:
    """DE55 opened one level, as [tag, hex] pairs; None if it is not BER-TLV."""
    try:
        items = tlv.read(value)
    except TlvError:
        return None
    return [[tag, _tag_hex(tag, data, unsafe)] for tag, data in items]


def _tag_hex(tag: str, data: bytes, unsafe: bool) -> str:
    text = data.hex().upper()
    return text if unsafe else mask_tlv(tlv.write([(tag, data)]))[-len(text) :] if text else ""


def _icc_rows(value: bytes, unsafe: bool) -> list[Row]:
    try:
        items = tlv.read(value)
    except TlvError as error:
        return [Row("", Text("未能展开", "not opened"), str(error), None, 1)]
    return [row for tag, data in items for row in _tag_rows(tag, data, unsafe, 1)]


def _tag_rows(tag: str, data: bytes, unsafe: bool, depth: int) -> list[Row]:
    info = tag_info(tag)
    text = _tag_hex(tag, data, unsafe)
    reading = None if STAR in text else show(tag, data)
    if tag == "8A" and STAR not in text and len(text) == 4:
        note: Text | None = _answer_code(text)
    else:
        note = Text(reading, reading) if reading is not None and reading != text else _tag_meaning(tag, text)
    if info.format == "t" and tlv.is_template(tag) and depth < tlv.DEPTH_MAX:
        try:
            inner = tlv.read(data)
        except TlvError:
            inner = []
        head = Row(tag, Text(info.zh, info.en), text if not inner else "", None, depth)
        return [head, *(row for name, part in inner for row in _tag_rows(name, part, unsafe, depth + 1))]
    return [Row(tag, Text(info.zh, info.en), text, note, depth)]


_CRYPTOGRAMS = {
    "0": Text("应用认证密文(AAC,拒绝)", "AAC, declined"),
    "4": Text("交易证书(TC,脱机批准)", "TC, approved offline"),
    "8": Text("授权请求密文(ARQC,联机)", "ARQC, go online"),
}


_SCRIPTS = {
    "0": Text("未执行", "not performed"),
    "1": Text("第{}条指令失败", "command {} failed"),
    "2": Text("成功", "done"),
}
"""First digit of a script's result in DF31; the second is the command's number, 15 for that one and all later ones."""

_OFFLINE_ANSWERS = {
    "Y1": Text("脱机批准", "approved offline"),
    "Y3": Text("不能联机,脱机批准", "unable to go online, approved offline"),
}


def _script_results(text: str) -> Text | None:
    """DF31: five bytes a script, its result and its identifier."""
    results = [text[at : at + 10] for at in range(0, len(text), 10)]
    if not text or len(text) % 10 or any(one[0] not in _SCRIPTS for one in results):
        return None
    told = [(_SCRIPTS[one[0]], int(one[1], 16), one[2:]) for one in results]
    return Text(
        "; ".join(f"{name.zh.format(n)} {script}" for name, n, script in told),
        "; ".join(f"{name.en.format(n)} {script}" for name, n, script in told),
    )


def _answer_code(text: str) -> Text:
    """8A: what the issuer or, offline, the terminal answered."""
    code = bytes.fromhex(text).decode("latin-1")
    if code in _OFFLINE_ANSWERS:
        return _OFFLINE_ANSWERS[code]
    found = codes.response(code)
    return Text(found.zh, found.en)


def _tag_meaning(tag: str, text: str) -> Text | None:
    if tag == "DF31":
        return _script_results(text)
    if tag == "9F27":
        return _CRYPTOGRAMS.get(text[:1])
    if tag == "9C" and len(text) == 2:
        return codes.processing(text + "0000")
    return codes.CURRENCIES.get(text[1:]) if tag in ("5F2A", "9F51", "9F42") else None


def meaning(scene: Scene, de: int) -> Text | None:
    """What a coded field says, None for fields that are no codes."""
    value = scene.fields[de]
    if de == 64 and isinstance(value, bytes) and value.isalnum():
        return Text(value.decode("ascii"), value.decode("ascii"))
    if not isinstance(value, str):
        return None
    if de == 39:
        if scene.dialect == "pos" and scene.mti == "0400":
            return codes.REVERSAL_REASONS.get(value, Text("其他冲正原因", "other reversal reason"))
        found = codes.response(value)
        return Text(found.zh, found.en)
    if de in (4, 5, 6) and value.isdigit():
        return _amount(value, str(scene.fields.get({4: 49, 5: 50, 6: 51}[de], "")))
    if de in (49, 50, 51):
        return codes.CURRENCIES.get(value)
    simple = {3: codes.processing, 22: codes.entry_mode}.get(de)
    if simple is not None:
        return simple(value)
    if de == 25:
        return codes.CONDITIONS.get(value)
    if de == 70:
        return codes.NETWORK_MANAGEMENT.get(value)
    if de == 53:
        return _security(value)
    return _when(de, value)


def _amount(digits: str, currency: str) -> Text:
    # Yen have no minor unit on the wire; every other currency of the table has two digits.
    minor = 0 if currency == "392" else 2
    amount = f"{int(digits):,}" if not minor else f"{int(digits) // 100:,}.{int(digits) % 100:02d}"
    unit = codes.CURRENCIES.get(currency, Text("", ""))
    return Text(f"{amount} {unit.zh}".strip(), f"{amount} {unit.en}".strip())


_PIN_FORMATS = {"0": Text("无密码", "no PIN"), "1": Text("密码不带主账号", "PIN without PAN")}
_PIN_FORMATS["2"] = Text("密码带主账号", "PIN with PAN")
_ALGORITHMS = {"0": Text("单倍长DES", "single DES"), "6": Text("双倍长3DES", "3DES")}
_ALGORITHMS["3"] = _ALGORITHMS["4"] = Text("国密SM4", "SM4")


def _security(value: str) -> Text | None:
    if len(value) != 16 or value[0] not in _PIN_FORMATS or value[1] not in _ALGORITHMS:
        return None
    form, algorithm = _PIN_FORMATS[value[0]], _ALGORITHMS[value[1]]
    track = Text(",磁道加密", ", tracks encrypted") if value[2] == "1" else Text("", "")
    return Text(f"{form.zh},{algorithm.zh}{track.zh}", f"{form.en}, {algorithm.en}{track.en}")


def _when(de: int, value: str) -> Text | None:
    if de == 12 and len(value) == 6:
        text = f"{value[:2]}:{value[2:4]}:{value[4:]}"
    elif de in (13, 15, 16) and len(value) == 4:
        text = f"{value[:2]}-{value[2:]}"
    elif de == 7 and len(value) == 10:
        text = f"{value[:2]}-{value[2:4]} {value[4:6]}:{value[6:8]}:{value[8:]}"
    else:
        return None
    return Text(text, text)
