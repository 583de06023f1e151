"""One named part of a private field, how it is masked, and the few ways of making parts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from switch.wire.codes import Text
from switch.wire.private import SECRET_USAGES, Usage
from switch.wire.redact import STAR, mask_pan, scrub

Hide = Literal["", "pan", "last4", "star", "scrub"]


class Scene(NamedTuple):
    """The message that a field stands in: private layouts depend on it."""

    mti: str
    fields: Mapping[int, Any]
    dialect: str


class Part(NamedTuple):
    """`key` is the sub-field's number or tag; `hide` says what of the value may not be seen."""

    key: str
    name: Text
    value: str
    hide: Hide = ""
    meaning: Text | None = None

    def text(self, unsafe: bool) -> str:
        """The value as it is printed."""
        if unsafe or not self.hide:
            return self.value
        if self.hide == "pan":
            return mask_pan(self.value)
        if self.hide == "scrub":
            return scrub(self.value)
        hidden = max(0, len(self.value) - 4) if self.hide == "last4" else len(self.value)
        return STAR * hidden + self.value[hidden:]

    def __repr__(self) -> str:
        return f"Part({self.key}, {self.name.en}, {self.text(False)})"


def named(
    x: Iterable[str],
    names: Sequence[tuple[str, str]],
    meanings: Mapping[int, Text | None] | None = None,
    hide: Hide = "",
) -> list[Part]:
    """Sub-fields of a tuple, numbered from 1; meanings by position from 0."""
    meanings = meanings or {}
    return [
        Part(str(at + 1), Text(*name), value, hide, meanings.get(at))
        for at, (value, name) in enumerate(zip(x, names, strict=True))
    ]


def binary(key: str, name: Text, data: bytes, hide: Hide = "") -> Part:
    """Bytes as hex."""
    return Part(key, name, data.hex().upper(), hide)


def text_parts(name: Text, value: bytes) -> list[Part]:
    """Bytes that are text (GBK) as one part, scrubbed; nothing if they are none."""
    try:
        text = value.decode("gbk")
    except UnicodeDecodeError:
        return []
    return [Part("", name, text, "scrub")] if text.isprintable() else []


_USAGES = {
    "SM": Text("国密PIN数据", "SM4 PIN block"),
    "NK": Text("新密钥", "new key"),
    "TK": Text("令牌数据", "token data"),
    "OA": Text("原始交易金额", "original amount"),
    "AR": Text("应答详细原因", "detailed response reason"),
    "ON": Text("订单号", "order number"),
}


def usage_parts(usages: Iterable[Usage]) -> list[Part]:
    """Usages as parts, text where their data are text."""
    out = []
    for tag, data in usages:
        name = _USAGES.get(tag, Text("用法", "usage"))
        hide: Hide = "star" if tag in SECRET_USAGES else "scrub"
        text = [] if tag in SECRET_USAGES else text_parts(name, data)
        out += [part._replace(key=tag) for part in text] or [binary(tag, name, data, hide)]
    return out
