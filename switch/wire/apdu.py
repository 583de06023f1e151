"""Commands and responses between terminal and card (ISO 7816-4, short lengths), with the names of both.

Builders give bytes, ready to be sent. A response is data and two bytes of status word; `split` parts them.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from switch.wire.errors import ApduError

OK: Final = 0x9000
DEACTIVATED: Final = 0x6283
AUTH_FAILED: Final = 0x6300
PIN_BLOCKED: Final = 0x6983
PIN_WAS_BLOCKED: Final = 0x6984
NOT_SATISFIED: Final = 0x6985
SEE_PHONE: Final = 0x6986
NOT_SUPPORTED: Final = 0x6A81
NOT_FOUND: Final = 0x6A82
NO_RECORD: Final = 0x6A83
NO_DATA: Final = 0x6A88

PSE: Final = b"1PAY.SYS.DDF01"
PPSE: Final = b"2PAY.SYS.DDF01"

CDA_REQUEST: Final = 0x10
"""Added to P1 of GENERATE AC."""

AC_AAC: Final = 0x00
AC_TC: Final = 0x40
AC_ARQC: Final = 0x80
AC_MASK: Final = 0xC0
"""The kind of cryptogram, as P1 of GENERATE AC asks for it and bits 8-7 of 9F27 tell it."""


class Command(NamedTuple):
    """One command APDU; `le` is None when no answer data are asked for, 0 for all there is (256)."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None

    @classmethod
    def parse(cls, command: bytes) -> "Command":
        """The parts of a command. Raises ApduError when it breaks off or Lc and the size disagree."""
        size = len(command)
        if size < 4:
            raise ApduError("command", size, "fewer than 4 bytes")
        cla, ins, p1, p2 = command[:4]
        if size == 4:
            return cls(cla, ins, p1, p2)
        if size == 5:
            return cls(cla, ins, p1, p2, b"", command[4])
        lc = command[4]
        if lc == 0:
            raise ApduError("Lc", 4, "extended lengths are not spoken here")
        data = command[5 : 5 + lc]
        if size == 5 + lc:
            return cls(cla, ins, p1, p2, data)
        if size == 6 + lc:
            return cls(cla, ins, p1, p2, data, command[-1])
        raise ApduError("Lc", 4, f"{lc} announced, {size - 5} follow")

    def bytes(self) -> "bytes":
        """The command as it is sent. Raises ApduError for more than 255 bytes of data."""
        if len(self.data) > 255:
            raise ApduError("Lc", 4, f"{len(self.data)} bytes exceed 255")
        body = bytes((len(self.data),)) + self.data if self.data else b""
        return bytes(self[:4]) + body + (b"" if self.le is None else bytes((self.le & 0xFF,)))


@lru_cache(maxsize=256)  # a terminal selects the same few names (0.3 us)
def select(name: bytes, following: bool = False) -> bytes:
    """SELECT by DF name, the first or the next occurrence."""
    return bytes((0x00, 0xA4, 0x04, 0x02 if following else 0x00, len(name))) + name + b"\x00"


def gpo(values: bytes = b"") -> bytes:
    """GET PROCESSING OPTIONS with the values of the PDOL."""
    size = len(values)
    head = bytes((0x83, size)) if size < 0x80 else bytes((0x83, 0x81, size))
    return bytes((0x80, 0xA8, 0x00, 0x00, len(head) + size)) + head + values + b"\x00"


def read_record(sfi: int, record: int) -> bytes:
    """READ RECORD `record` (from 1) of the file with this short identifier."""
    return bytes((0x00, 0xB2, record, sfi << 3 | 4, 0x00))


def get_data(tag: str) -> bytes:
    """GET DATA of a tag (hex, one or two bytes)."""
    return b"\x80\xca" + bytes.fromhex(tag.zfill(4)) + b"\x00"


def generate_ac(kind: int, values: bytes) -> bytes:
    """GENERATE AC: `kind` is AC_TC, AC_ARQC or AC_AAC, perhaps with CDA_REQUEST; the values of CDOL1 or CDOL2."""
    return bytes((0x80, 0xAE, kind, 0x00, len(values))) + values + b"\x00"


def external_auth(data: bytes) -> bytes:
    """EXTERNAL AUTHENTICATE with the value of tag 91: ARPC and response code."""
    return bytes((0x00, 0x82, 0x00, 0x00, len(data))) + data


def internal_auth(values: bytes) -> bytes:
    """INTERNAL AUTHENTICATE with the values of the DDOL."""
    return bytes((0x00, 0x88, 0x00, 0x00, len(values))) + values + b"\x00"


def verify(block: bytes) -> bytes:
    """VERIFY a plain PIN, given as its 8-byte format 2 block."""
    return bytes((0x00, 0x20, 0x00, 0x80, len(block))) + block


def get_challenge() -> bytes:
    """GET CHALLENGE: 8 bytes of the card's choice."""
    return b"\x00\x84\x00\x00\x00"


def get_trans_prove(atc: bytes) -> bytes:
    """GET TRANS PROVE: the TC of the transaction with this ATC, when the card completed it."""
    return b"\x80\x5a\x00\x00\x02" + atc + b"\x00"


def split(response: bytes) -> tuple[bytes, int]:
    """Data and status word of a response. Raises ApduError when it has no status word."""
    if len(response) < 2:
        raise ApduError("response", len(response), "no status word")
    return response[:-2], response[-2] << 8 | response[-1]


_COMMANDS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        0xA4: ("选择", "SELECT"),
        0xA8: ("取处理选项", "GET PROCESSING OPTIONS"),
        0xB2: ("读记录", "READ RECORD"),
        0xB4: ("读扩展应用数据", "READ CAPP DATA"),
        0xCA: ("取数据", "GET DATA"),
        0xDA: ("设置数据", "PUT DATA"),
        0xDC: ("修改记录", "UPDATE RECORD"),
        0xDE: ("更新扩展应用数据缓存", "UPDATE CAPP DATA CACHE"),
        0xE2: ("追加记录", "APPEND RECORD"),
        0xAE: ("生成应用密文", "GENERATE AC"),
        0x82: ("外部认证", "EXTERNAL AUTHENTICATE"),
        0x88: ("内部认证", "INTERNAL AUTHENTICATE"),
        0x20: ("校验PIN", "VERIFY"),
        0x84: ("取随机数", "GET CHALLENGE"),
        0xC0: ("取响应", "GET RESPONSE"),
        0x1E: ("应用锁定", "APPLICATION BLOCK"),
        0x18: ("应用解锁", "APPLICATION UNBLOCK"),
        0x16: ("卡片锁定", "CARD BLOCK"),
        0x24: ("PIN修改/解锁", "PIN CHANGE/UNBLOCK"),
        0x5A: ("取交易认证", "GET TRANS PROVE"),
    }
)

_STATUS_WORDS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        0x9000: ("成功", "done"),
        0x6281: ("回送数据可能有误", "data may be corrupted"),
        0x6283: ("文件无效(已锁定)", "selected file deactivated (blocked)"),
        0x6300: ("认证失败", "authentication failed"),
        0x6400: ("执行出错,状态未变", "execution error, nothing changed"),
        0x6581: ("内存失败", "memory failure"),
        0x6700: ("长度错误", "wrong length"),
        0x6882: ("不支持安全报文", "secure messaging not supported"),
        0x6971: ("预授权笔数超限", "too many pre-authorizations"),
        0x6972: ("预授权重复", "duplicate pre-authorization"),
        0x6973: ("无此预授权", "no such pre-authorization"),
        0x6974: ("预授权不匹配", "pre-authorization does not match"),
        0x6976: ("超过上限", "above the limit"),
        0x6982: ("安全状态不满足", "security status not satisfied"),
        0x6983: ("认证方法锁定", "authentication method blocked"),
        0x6984: ("引用数据无效", "referenced data invalidated"),
        0x6985: ("使用条件不满足", "conditions of use not satisfied"),
        0x6986: ("命令不允许", "command not allowed"),
        0x6987: ("缺少安全报文数据", "secure messaging data missing"),
        0x6988: ("安全报文数据错误", "secure messaging data incorrect"),
        0x6A80: ("数据域错误", "wrong data"),
        0x6A81: ("不支持此功能(卡片锁定)", "function not supported (card blocked)"),
        0x6A82: ("未找到文件", "file not found"),
        0x6A83: ("未找到记录", "record not found"),
        0x6A84: ("文件空间不足", "not enough memory"),
        0x6A86: ("P1 P2错误", "wrong P1 P2"),
        0x6A88: ("未找到引用数据", "referenced data not found"),
        0x6B00: ("参数错误", "wrong parameters"),
        0x6D00: ("INS不支持", "instruction not supported"),
        0x6E00: ("CLA不支持", "class not supported"),
        0x6F00: ("无确切诊断", "no precise diagnosis"),
        0x9303: ("应用永久锁定", "application permanently blocked"),
        0x9406: ("所需MAC不可用", "no proof available"),
    }
)


def command_name(ins: int) -> tuple[str, str]:
    """The name of an instruction in Chinese and English; unknown ones by their number."""
    return _COMMANDS.get(ins, (f"命令{ins:02X}", f"instruction {ins:02X}"))


def status_name(sw: int) -> tuple[str, str]:
    """What a status word says, in Chinese and English."""
    known = _STATUS_WORDS.get(sw)
    if known is not None:
        return known
    if sw >> 8 == 0x61:
        return f"还有{sw & 0xFF}字节", f"{sw & 0xFF} more bytes"
    if sw >> 8 == 0x6C:
        return f"Le应为{sw & 0xFF}", f"Le should be {sw & 0xFF}"
    if sw & 0xFFF0 == 0x63C0:
        return f"校验失败,还可试{sw & 15}次", f"verification failed, {sw & 15} tries left"
    return f"状态字{sw:04X}", f"status {sw:04X}"
