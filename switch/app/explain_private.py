"""Private fields in words: each opener takes a field's value apart into named parts, ready to be masked and printed.

Openers raise WireError for a value whose layout they do not know; the caller then leaves the field as it stands.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from switch.app import explain_62
from switch.app.explain_part import Part, Scene, binary, named, text_parts, usage_parts
from switch.wire import codes, private, private_network, private_pos
from switch.wire.codes import Text

Opener: TypeAlias = Callable[[Scene, Any], list[Part]]

__all__ = ["PRIVATE_NETWORK", "PRIVATE_POS", "Opener", "Part", "Scene"]

_CARD_CLASSES = {"00": Text("内卡", "domestic card"), "01": Text("外卡", "foreign card")}
_RESULTS = {
    "0": Text("请求", "asked"),
    "1": Text("平", "balanced"),
    "2": Text("不平", "unbalanced"),
    "3": Text("出错", "error"),
}


def _pos_44(scene: Scene, value: str) -> list[Part]:
    x = private_pos.read_44(value)
    return named(x, (("发卡机构", "issuer"), ("收单机构", "acquirer"), ("其余", "rest")))


_SIDE = (
    ("借记金额", "debit amount"),
    ("借记笔数", "debit count"),
    ("贷记金额", "credit amount"),
    ("贷记笔数", "credit count"),
    ("对账结果", "result"),
)


def _pos_48(scene: Scene, value: str) -> list[Part]:
    x = private_pos.read_48(value, str(scene.fields.get(3, "")))
    if isinstance(x, private_pos.Totals):
        return [
            Part(
                f"{half}.{number}",
                Text(f"{zh}{name[0]}", f"{en} {name[1]}"),
                str(count),
                meaning=_RESULTS.get(str(count)) if number == 5 else None,
            )
            for half, (zh, en, side) in enumerate((("内卡", "domestic", x.domestic), ("外卡", "foreign", x.foreign)), 1)
            for number, (name, count) in enumerate(zip(_SIDE, side, strict=True), 1)
        ]
    if isinstance(x, private_pos.EndCount):
        return [Part("1", Text("明细总笔数", "details uploaded"), str(x.details))]
    if isinstance(x, private_pos.Tip):
        return [Part("1", Text("小费", "tip"), str(x.amount_minor))]
    if isinstance(x, private_pos.TransferEntry):
        name = Text("转入卡输入方式", "entry mode of the loaded card")
        return [Part("1", name, x.entry_mode, meaning=codes.entry_mode(x.entry_mode))]
    out = []
    for number, row in enumerate(x, 1):
        out += [
            Part(f"{number}.1", Text("卡类", "card class"), row.card_class, meaning=_CARD_CLASSES.get(row.card_class)),
            Part(f"{number}.2", Text("系统跟踪号", "STAN"), row.stan),
            Part(f"{number}.3", Text("卡号", "card number"), row.pan, "pan"),
            Part(f"{number}.4", Text("金额", "amount"), str(row.amount_minor)),
        ]
    return out


_AMOUNT_TYPES = {"01": Text("账面余额", "ledger balance"), "02": Text("可用余额", "available balance")}


def _balances(scene: Scene, value: str) -> list[Part]:
    return [
        Part(
            str(number),
            Text(f"账户{x.account_type}余额", f"balance of account type {x.account_type}"),
            f"{'-' if x.amount_minor < 0 else ''}{abs(x.amount_minor) // 100:,}.{abs(x.amount_minor) % 100:02d}",
            meaning=_AMOUNT_TYPES.get(x.amount_type),
        )
        for number, x in enumerate(private.read_54(value), 1)
    ]


def _pos_60(scene: Scene, value: str) -> list[Part]:
    x = private_pos.read_60(value)
    names = (
        ("交易类型码", "message type code"),
        ("批次号", "batch number"),
        ("网络管理信息码", "network management code"),
        ("终端读取能力", "terminal read capability"),
        ("IC卡条件代码", "chip condition code"),
        ("部分扣款和返回余额", "partial approval and balance"),
        ("账户类型", "account type"),
    )
    whole = len(x.network_code) == 3
    return named(
        x,
        names,
        {
            0: codes.TYPE_CODES.get(x.type_code),
            2: codes.network_code(x.network_code, scene.mti) if whole else None,
            3: codes.READ_CAPABILITIES.get(x.read_capability),
            4: codes.ICC_CONDITIONS.get(x.icc_condition),
        },
    )


_AUTH_MODES = {"00": Text("POS", "POS"), "01": Text("电话", "telephone"), "02": Text("代授权", "stand-in")}


def _pos_61(scene: Scene, value: str) -> list[Part]:
    x = private_pos.read_61(value)
    names = (
        ("原批次号", "original batch"),
        ("原系统跟踪号", "original STAN"),
        ("原交易日期", "original date"),
        ("原授权方式", "original authorization mode"),
        ("原授权机构", "original authorization institution"),
    )
    return named(x, names, {3: _AUTH_MODES.get(x.auth_mode)})


def _pos_63(scene: Scene, value: bytes) -> list[Part]:
    if value[:2] in (b"SM", private.NEW_PIN.encode()):
        return usage_parts(private.read_usages(63, value))
    x = private_pos.read_63(value)
    request = len(scene.mti) == 4 and scene.mti[2] in "02"
    first = ("操作员或卡组织", "operator or scheme") if request else ("国际信用卡公司代码", "card scheme")
    names = (
        first,
        ("发卡方信息", "issuer text"),
        ("银联信息", "network text"),
        ("收单机构信息", "acquirer text"),
        ("终端信息", "terminal text"),
        ("其余", "rest"),
    )
    return named((part.rstrip(" ") for part in x), names, hide="scrub")


_DEVICE = {
    "03": Text("入网认证编号", "entry certificate"),
    "04": Text("设备类型", "device type"),
    "05": Text("终端硬件序列号", "hardware serial number"),
    "06": Text("加密随机因子", "random factor"),
    "07": Text("硬件序列号密文", "encrypted serial number"),
    "08": Text("应用程序版本", "application version"),
}


def _device(de: int) -> Opener:
    def opened(scene: Scene, value: Any) -> list[Part]:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        info = private.read_device_info(de, text)
        return [
            # The factor is the end of the card number: four digits of it may be seen, as of the number itself.
            Part(tag, _DEVICE.get(tag, Text("其他", "other")), item, "last4" if tag == "06" else "")
            for tag, item in info.items
        ]

    return opened


def _pos_58(scene: Scene, value: bytes) -> list[Part]:
    x = private_pos.read_58(value)
    return [Part("1", Text("用法", "usage"), x.usage), binary("2", Text("数据", "data"), x.data, "scrub")]


def _network_28(scene: Scene, value: str) -> list[Part]:
    x = private_network.read_28(value)
    return [Part("1", Text("符号", "sign"), x.sign), Part("2", Text("交易费", "fee"), str(x.amount_minor))]


def _network_48(scene: Scene, value: bytes) -> list[Part]:
    if value[:2] == b"NK":
        key = private_network.read_new_key(value)
        return [binary("NK", Text("新密钥", "new key"), key, "star")]
    return usage_parts(private_network.read_48_usages(value))


def _network_53(scene: Scene, value: str) -> list[Part]:
    if scene.fields.get(70) != "101":
        return []
    x = private_network.read_53_reset(value)
    key = Text("PIN密钥", "PIN key") if x.key == "1" else Text("MAC密钥", "MAC key")
    algorithm = {
        "0": Text("单倍长", "single length"),
        "6": Text("双倍长", "double length"),
        "4": Text("国密SM4", "SM4"),
    }
    return [
        Part("1", Text("重置密钥类型", "key to reset"), x.key, meaning=key),
        Part("2", Text("加密算法", "algorithm"), x.algorithm, meaning=algorithm.get(x.algorithm)),
    ]


def _network_57(scene: Scene, value: str) -> list[Part]:
    if value.startswith("AB"):
        x = private_network.read_57_texts(value)
        return named(x, (("发卡方信息", "issuer text"), ("银联信息", "network text")), hide="scrub")
    return usage_parts(private_network.read_57_usages(value))


_NETWORK_60: tuple[tuple[str, str, str], ...] = (
    ("1", "报文原因代码", "reason code"),
    ("2.1", "账户所有人类型", "account owner"),
    ("2.2", "终端读取能力", "terminal read capability"),
    ("2.3", "IC卡条件代码", "chip condition code"),
    ("2.4", "保留", "reserved"),
    ("2.5", "终端类型", "terminal type"),
    ("2.6", "免密标志", "no-PIN flag"),
    ("2.7", "IC卡验证可靠性", "chip reliability"),
    ("2.8", "电子商务标志", "ECI"),
    ("2.9", "交互方式标志", "interaction"),
    ("3.1", "特殊计费类型", "special billing type"),
    ("3.2", "特殊计费档次", "special billing level"),
    ("3.3", "保留(第三位MAC算法)", "reserved, third digit MAC algorithm"),
    ("3.4", "支持部分承兑", "partial approval"),
    ("3.5", "交易发起方式", "initiation mode"),
    ("3.6", "交易介质", "medium"),
    ("3.7", "IC卡应用类型", "chip application"),
    ("3.8", "账户结算类型", "account settlement type"),
    ("3.9", "卡等级", "account grade"),
    ("3.10", "卡产品", "card product"),
    ("", "其余", "rest"),
)


def _network_60(scene: Scene, value: str) -> list[Part]:
    x = private_network.read_60(value)
    meanings = {
        0: codes.REVERSAL_CODES.get(x.reason),
        2: codes.READ_CAPABILITIES.get(x.read_capability),
        3: codes.ICC_CONDITIONS.get(x.icc_condition),
    }
    return [
        Part(key, Text(zh, en), part, meaning=meanings.get(at))
        for at, ((key, zh, en), part) in enumerate(zip(_NETWORK_60, x, strict=True))
    ]


def _network_61(scene: Scene, value: str) -> list[Part]:
    x = private_network.read_61(value)
    names = (
        ("证件类型", "certificate type"),
        ("证件编号", "certificate number"),
        ("CVN校验结果", "CVN result"),
        ("PVV校验结果", "PVV result"),
        ("中心标志", "centre flag"),
        ("无卡校验值", "card-absent value"),
        ("无卡校验结果", "card-absent result"),
        ("ARQC认证结果", "ARQC result"),
        ("安全信息", "security information"),
    )
    parts = named(x, names)
    secret: dict[int, Literal["star"]] = {1: "star", 5: "star", 8: "star"}
    return [part._replace(hide=secret.get(at, part.hide)) for at, part in enumerate(parts)]


def _network_63(scene: Scene, value: bytes) -> list[Part]:
    return usage_parts(private_network.read_63(value))


def _network_90(scene: Scene, value: str) -> list[Part]:
    x = private_network.read_90(value)
    names = (
        ("原消息类型", "original MTI"),
        ("原系统跟踪号", "original STAN"),
        ("原交易传输时间", "original transmission time"),
        ("原受理机构", "original acquirer"),
        ("原发送机构", "original forwarder"),
    )
    return named(x, names, {0: codes.MTIS.get(x.mti)})


def _network_121(scene: Scene, value: str) -> list[Part]:
    x = private_network.read_121(value)
    names = (
        ("应答原因码", "reason code"),
        ("单双信息转换标志", "single/dual conversion"),
        ("卡性质", "card nature"),
        ("银联保留", "network's own"),
        ("转账机构或费用", "institutions or fee"),
    )
    return named(x, names)


def _network_122(scene: Scene, value: str) -> list[Part]:
    return named(
        private_network.read_122(value), (("商户扣率", "merchant rate"), ("受理方信息", "acquirer data")), hide="scrub"
    )


def _device_or_nothing(de: int) -> Opener:
    """A field that holds a device block at some acquirers and private text at others."""
    device = _device(de)

    def opened(scene: Scene, value: Any) -> list[Part]:
        text = value if isinstance(value, str) else value.decode("latin-1")
        if text[:2] in ("PI", "A2"):
            return device(scene, value)
        return text_parts(Text("内容", "text"), value) if isinstance(value, bytes) else []

    return opened


PRIVATE_POS: Mapping[int, Opener] = {
    44: _pos_44,
    46: _device_or_nothing(46),
    48: _pos_48,
    54: _balances,
    57: _device_or_nothing(57),
    58: _pos_58,
    59: _device_or_nothing(59),
    60: _pos_60,
    61: _pos_61,
    62: explain_62.opened,
    63: _pos_63,
}

PRIVATE_NETWORK: Mapping[int, Opener] = {
    28: _network_28,
    48: _network_48,
    53: _network_53,
    54: _balances,
    57: _network_57,
    60: _network_60,
    61: _network_61,
    63: _network_63,
    90: _network_90,
    104: _device_or_nothing(104),
    121: _network_121,
    122: _network_122,
}
