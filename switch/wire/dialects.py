"""The two dialects as data: POS (64 fields, BCD) and network (128 fields, ASCII).

Each dialect is one table, `Dialect.spec`, that pyiso8583 can use as it stands; the extra keys of a row are `kind`, `zh`
and `en`. Rows are written below in the field pages' own notation and expanded here:

    n6        six digits                    an12 ans40   text, fixed, in bytes (GBK allowed)
    n..19     LLVAR, at most 19 digits      ans...512    LLLVAR text, at most 512 bytes
    z..37     track, LLVAR                  b8 b...255   binary, fixed or LLLVAR, in bytes
    xn8       C or D, then eight digits     n3<          left-justified (POS: the pad follows the digits)

POS: digits and tracks are packed two to a byte, their lengths count digits; lengths are BCD (LL one byte, LLL two).
Network: all ASCII but `b`; lengths are two or three ASCII digits. Facts: pos-protocol section 3, network-protocol
section 3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switch.wire.errors import WireError

Rows = dict[int, tuple[str, str, str]]

BASE: Rows = {
    2: ("n..19", "主账号", "primary account number"),
    3: ("n6", "交易处理码", "processing code"),
    4: ("n12", "交易金额", "transaction amount"),
    11: ("n6", "系统跟踪号", "system trace audit number"),
    12: ("n6", "受卡方所在地时间", "local time hhmmss"),
    13: ("n4", "受卡方所在地日期", "local date MMDD"),
    14: ("n4", "卡有效期", "expiry date YYMM"),
    15: ("n4", "清算日期", "settlement date MMDD"),
    22: ("n3<", "服务点输入方式码", "point-of-service entry mode"),
    23: ("n3", "卡序列号", "card sequence number"),
    25: ("n2", "服务点条件码", "point-of-service condition code"),
    26: ("n2", "服务点PIN获取码", "PIN capture code"),
    32: ("n..11", "受理方标识码", "acquiring institution"),
    35: ("z..37", "第二磁道数据", "track 2"),
    36: ("z...104", "第三磁道数据", "track 3"),
    37: ("an12", "检索参考号", "retrieval reference number"),
    38: ("an6", "授权标识应答码", "authorization code"),
    39: ("an2", "应答码", "response code"),
    41: ("ans8", "受卡机终端标识码", "terminal identifier"),
    42: ("ans15", "受卡方标识码", "merchant identifier"),
    43: ("ans40", "受卡方名称地址", "merchant name and place"),
    44: ("an..25", "附加响应数据", "additional response data"),
    49: ("an3", "交易货币代码", "transaction currency"),
    52: ("b8", "个人标识码数据", "PIN block"),
    53: ("n16", "安全控制信息", "security control information"),
    55: ("b...255", "IC卡数据域", "ICC data"),
}
"""What both links have in common."""

POS_ROWS: Rows = {
    46: ("ans...999", "终端附加信息", "private terminal information"),
    47: ("ans...999", "终端附加信息二", "private terminal information 2"),
    48: ("n...322", "附加数据－私有", "additional data, private"),
    54: ("an...020", "余额", "balance"),
    56: ("ans...999", "附加信息", "additional text"),
    57: ("b...999", "终端安全信息", "terminal security information"),
    58: ("b...100", "PBOC电子钱包数据", "e-purse data"),
    59: ("b...999", "终端附加数据", "terminal data"),
    60: ("n...017", "自定义域60", "private field 60"),
    61: ("n...029", "原始信息域", "original message data"),
    62: ("b...999", "自定义域62", "private field 62"),
    63: ("b...163", "自定义域63", "private field 63"),
    64: ("b8", "MAC", "message authentication code"),
}

NETWORK_ROWS: Rows = {
    5: ("n12", "清算金额", "settlement amount"),
    6: ("n12", "持卡人扣账金额", "cardholder billing amount"),
    7: ("n10", "交易传输时间", "transmission date and time MMDDhhmmss"),
    9: ("n8", "清算汇率", "settlement conversion rate"),
    10: ("n8", "持卡人扣账汇率", "billing conversion rate"),
    16: ("n4", "兑换日期", "conversion date MMDD"),
    18: ("n4", "商户类型", "merchant category code"),
    19: ("n3", "商户国家代码", "merchant country"),
    28: ("xn8", "交易费", "transaction fee"),
    33: ("n..11", "发送机构标识码", "forwarding institution"),
    45: ("ans..79", "第一磁道数据", "track 1"),
    48: ("b...512", "附加数据－私有", "additional data, private"),
    50: ("an3", "清算货币代码", "settlement currency"),
    51: ("an3", "持卡人账户货币代码", "billing currency"),
    54: ("an...040", "余额", "balances"),
    56: ("ans...512", "附加信息", "additional information"),
    57: ("ans...100", "附加交易信息", "additional transaction information"),
    59: ("ans...600", "明细查询数据", "detail inquiry data"),
    60: ("ans...100", "自定义域60", "private field 60"),
    61: ("ans...200", "持卡人身份认证信息", "cardholder identity check"),
    62: ("ans...200", "交换中心数据", "switching centre data"),
    63: ("b...512", "金融网络数据", "financial network data"),
    70: ("n3", "网络管理信息码", "network management code"),
    90: ("n42", "原始数据元", "original data elements"),
    96: ("b8", "报文安全码", "message security code"),
    100: ("n..11", "接收机构标识码", "receiving institution"),
    102: ("ans..28", "账户标识1", "account identification 1"),
    103: ("ans..28", "账户标识2", "account identification 2"),
    104: ("ans...512", "附加终端信息", "additional terminal information"),
    121: ("ans...100", "银联处理中心保留", "reserved for the network centre"),
    122: ("ans...100", "受理方保留", "reserved for the acquirer"),
    123: ("ans...255", "发卡方保留", "reserved for the issuer"),
    128: ("ans8", "MAC", "message authentication code"),
}

_FORMAT = re.compile(r"(?:(xn|n|ans|an|b)|(z)(?=\.))(\.{2,3})?([0-9]{1,3})(<?)")


@dataclass(frozen=True, eq=False)
class Dialect:
    """One table of fields. `spec` is a pyiso8583 spec: keys "h", "t", "p", "1", "2"... to the last bit of its bitmap.

    Rows of fields that the link does not use have kind "unused" and length 0; the codec refuses a message that carries
    one.
    """

    name: str
    bits: int
    spec: Mapping[str, Mapping[str, Any]]

    @property
    def packed(self) -> bool:
        """Digits two to a byte (POS) rather than ASCII (network)."""
        return bool(self.spec["t"]["data_enc"] == "b")

    def row(self, de: int) -> Mapping[str, Any]:
        """The row of a field; KeyError outside the bitmap."""
        return self.spec[str(de)]

    def adapted(self, formats: Mapping[int, str]) -> "Dialect":
        """The same dialect with some fields as one acquirer has them, `{62: "b...512"}`; WireError on nonsense."""
        spec = dict(self.spec)
        for de, written in formats.items():
            if not 2 <= de <= self.bits or de == 65:
                raise WireError(f"DE{de}", None, f"the {self.name} dialect has no such field")
            old = self.spec[str(de)]
            spec[str(de)] = _row(self.packed, written, old["zh"], old["en"])
        return Dialect(self.name, self.bits, spec)


def _row(packed: bool, written: str, zh: str, en: str) -> dict[str, Any]:
    """One spec row from the notation above."""
    found = _FORMAT.fullmatch(written)
    kind, dots, size = (found[1] or found[2], len(found[3] or ""), int(found[4])) if found else ("", 0, 0)
    if not found or not 0 < size <= (99 if dots == 2 else 999) or (dots and (kind == "xn" or found[5])):
        raise WireError("field format", None, f"{written!r} is not understood")
    digits = kind in ("n", "z")
    row: dict[str, Any] = {
        "data_enc": "b" if kind == "b" or (packed and digits) else "ascii" if kind in ("n", "z", "xn") else "gbk",
        "len_enc": "bcd" if packed else "ascii",
        "len_type": (dots + 1) // 2 if packed else dots,
        "max_len": size + 1 if kind == "xn" else size,
        "desc": f"{zh} {en}",
        "kind": kind,
        "zh": zh,
        "en": en,
    }
    if packed and digits:
        row["len_count"] = "nibbles"
        # An odd number of digits in a fixed field is right-justified unless marked; in a variable one the pad follows.
        row["right_pad" if dots or found[5] else "left_pad"] = "0"
    return row


def _dialect(name: str, bits: int, packed: bool, rows: Rows) -> Dialect:
    plain = "b" if packed else "ascii"
    length = {"len_enc": "bcd" if packed else "ascii", "len_type": 0}
    spec: dict[str, Mapping[str, Any]] = {
        "h": {"data_enc": "b", **length, "max_len": 0, "desc": "header", "kind": "unused", "zh": "", "en": ""},
        "t": {"data_enc": plain, **length, "max_len": 2 if packed else 4, "desc": "MTI", "kind": "n"},
        "p": {"data_enc": "b", **length, "max_len": 8, "desc": "bitmap", "kind": "b"},
        "1": {"data_enc": "b", **length, "max_len": 8, "desc": "second bitmap", "kind": "b"},
    }
    for de in range(2, bits + 1):
        if de in rows:
            spec[str(de)] = _row(packed, *rows[de])
        else:
            spec[str(de)] = {**spec["h"], "desc": "not used on this link"}
    return Dialect(name, bits, spec)


POS = _dialect("pos", 64, True, BASE | POS_ROWS)
NETWORK = _dialect("network", 128, False, BASE | NETWORK_ROWS)
DIALECTS: dict[str, Dialect] = {POS.name: POS, NETWORK.name: NETWORK}
