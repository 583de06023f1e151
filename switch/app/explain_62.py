"""DE62 of the terminal's link in words: which of its many usages a message carries, and its parts.

The usage follows from MTI, DE3, DE25 and DE60; what fits none of them is printed as text if it is text.
"""

from collections.abc import Callable, Iterator

from switch.app.explain_part import Part, Scene, binary, named, text_parts
from switch.wire import private_62 as p62
from switch.wire.codes import Text
from switch.wire.errors import DecodeError
from switch.wire.tags import tag_info

_SIGN_IN_LAYOUTS = {
    "001": ("des",),
    "003": ("3des", "3des-mak16"),
    "004": ("3des-tdk", "sm4"),
    "005": ("sm4",),
    "006": ("sm4",),
}
"""DE60.3 of a sign-in to the layouts to try."""

_DOWNLOADS = frozenset(("370", "371", "372", "373", "380", "381", "382", "394", "396", "398"))

_KEYS = {
    "pik": Text("PIN密钥", "PIN key"),
    "mak": Text("MAC密钥", "MAC key"),
    "tdk": Text("磁道密钥", "track key"),
}

_PARAMETERS = {
    "01": Text("键盘", "keyboard"),
    "02": Text("密码键盘", "PIN pad"),
    "03": Text("读卡器", "card reader"),
    "04": Text("打印机", "printer"),
    "05": Text("显示屏", "display"),
    "11": Text("应用类型", "application"),
    "12": Text("超时时间(秒)", "timeout in seconds"),
    "13": Text("重试次数", "retries"),
    "14": Text("电话号码一", "telephone 1"),
    "15": Text("电话号码二", "telephone 2"),
    "16": Text("电话号码三", "telephone 3"),
    "17": Text("管理电话号码", "administration telephone"),
    "18": Text("支持小费", "tips"),
    "19": Text("小费百分比", "tip percent"),
    "20": Text("支持手工输入卡号", "keyed cards"),
    "21": Text("自动签退", "automatic sign-off"),
    "22": Text("商户名称", "merchant name"),
    "23": Text("冲正重发次数", "reversal repeats"),
    "24": Text("离线上送方式", "offline upload mode"),
    "25": Text("主密钥索引", "master key index"),
    "26": Text("支持的交易", "supported transactions"),
}


def opened(scene: Scene, value: bytes) -> list[Part]:
    """The parts of DE62; no parts for one that is neither a known usage nor text."""
    for reader in _candidates(scene, value):
        try:
            return reader(value)
        except DecodeError:
            continue
    return text_parts(Text("内容", "text"), value) if value.isascii() else []


def _candidates(scene: Scene, value: bytes) -> Iterator[Callable[[bytes], list[Part]]]:
    """Readers worth trying, the surest first."""
    private_60 = str(scene.fields.get(60, ""))
    type_code, network_code = private_60[:2], private_60[8:11]
    if scene.mti == "0810":
        for layout in _SIGN_IN_LAYOUTS.get(network_code, ()):
            yield lambda data, layout=layout: _keys(data, p62.KEY_LAYOUTS[layout])  # type: ignore[misc]
    if value.startswith(b"Sequence No"):
        yield _serial
    if network_code in _DOWNLOADS:
        if scene.mti == "0820" or network_code in ("394", "396", "398"):
            yield _list_query
        yield _listing
    if network_code in ("360", "362", "364"):
        yield _parameters
    if scene.mti == "0320":
        yield _chip_notice if value.startswith(b"71") else _chip_detail
    if value.startswith(b"\x00\x10"):
        yield _sm_pin
    processing_code, condition = str(scene.fields.get(3, "")), str(scene.fields.get(25, ""))
    if processing_code[:2] in ("62", "40"):
        yield _transfer_pan
    if type_code == "27":
        yield _original_terminal
    if condition == "64":
        yield _instalment
    if condition == "65":
        yield _points
    if condition in ("08", "18", "67"):
        yield _identity


def _keys(value: bytes, layout: p62.KeyLayout) -> list[Part]:
    out = []
    for number, key in enumerate(p62.read_keys(value, layout), 1):
        name = _KEYS.get(key.name, Text(key.name, key.name))
        out.append(binary(f"{number}.1", name, key.wrapped, "star"))
        out.append(binary(f"{number}.2", Text(f"{name.zh}校验值", f"{name.en} check value"), key.kcv))
    return out


def _serial(value: bytes) -> list[Part]:
    return [Part("", Text("终端序列号", "terminal serial number"), p62.read_sequence_no(value))]


def _list_query(value: bytes) -> list[Part]:
    return [Part("", Text("已收到的条数", "entries received"), str(p62.read_list_query(value)))]


def _listing(value: bytes) -> list[Part]:
    x = p62.read_listing(value)
    out = [Part("", Text("状态", "status"), x.status)] if x.status else []
    for tag, data in x.items:
        info = tag_info(tag)
        out.append(binary(tag, Text(info.zh, info.en), data))
    return out


def _parameters(value: bytes) -> list[Part]:
    other = Text("其他", "other")
    return [Part(code, _PARAMETERS.get(code, other), text.rstrip()) for code, text in p62.read_parameters(value)]


_CHIP = (("卡类", "card class"), ("应答或原因", "response or reason"), ("金额", "amount"), ("货币", "currency"))


def _chip_detail(value: bytes) -> list[Part]:
    return named(map(str, p62.read_chip_detail(value)), _CHIP)


def _chip_notice(value: bytes) -> list[Part]:
    names = (*_CHIP, ("密文类型", "cryptogram type"), ("ARPC结果", "ARPC result"))
    return named(map(str, p62.read_chip_notice(value)), names)


def _sm_pin(value: bytes) -> list[Part]:
    return [binary("00", Text("国密PIN数据", "SM4 PIN block"), p62.read_sm_pin_62(value), "star")]


def _transfer_pan(value: bytes) -> list[Part]:
    return [Part("", Text("转入卡号", "card that receives"), p62.read_transfer_pan(value), "pan")]


def _original_terminal(value: bytes) -> list[Part]:
    return [Part("", Text("原终端号", "original terminal"), p62.read_original_terminal(value))]


def _instalment(value: bytes) -> list[Part]:
    x = p62.read_instalment(value)
    names = (("期数", "periods"), ("商品代码", "goods code"), ("手续费方式", "fee mode"), ("其余", "rest"))
    return named(map(str, x), names, hide="scrub")


def _points(value: bytes) -> list[Part]:
    return named(p62.read_points(value), (("商品代码", "goods code"), ("其余", "rest")), hide="scrub")


def _identity(value: bytes) -> list[Part]:
    x = p62.read_identity(value)
    return [
        Part("1", Text("证件类型", "certificate type"), x.kind),
        Part("2", Text("证件号码", "certificate number"), x.number, "star"),
    ]
