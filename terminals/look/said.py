"""What terminal and card said: each command and answer by name, every byte of data opened by tag."""

from typing import Any, Final

from switch.wire import apdu, dol, tlv
from switch.wire.errors import ApduError, TlvError
from terminals.look.opened import Node, many, note, opened

_GPO, _AC, _READ, _SELECT, _GET_DATA = 0xA8, 0xAE, 0xB2, 0xA4, 0xCA
_EXTERNAL, _INTERNAL, _VERIFY, _PROVE, _PUT_DATA = 0x82, 0x88, 0x20, 0x5A, 0xDA
_FORMAT_1: Final = (("9F27", 0, 1), ("9F36", 1, 3), ("9F26", 3, 11), ("9F10", 11, None))
_KINDS: Final = {0x00: "AAC", 0x40: "TC", 0x80: "ARQC"}


class Listener:
    """Follows a dialogue; it remembers the lists a card gave, because later commands hold values without tags."""

    def __init__(self) -> None:
        self._lists: dict[str, bytes] = {}
        self._generated = 0

    def step(self, number: int, command: bytes, response: bytes) -> dict[str, Any]:
        """One exchange: `n`, names, `about`, `command` and `response` in hex, `sw`, opened `sent` and `got`."""
        try:
            asked = apdu.Command.parse(command)
        except ApduError:
            cla, ins, p1, p2 = command[:4].ljust(4, b"\0")
            asked = apdu.Command(cla, ins, p1, p2, command[5:])
        zh, en = apdu.command_name(asked.ins)
        if asked.ins == _SELECT:
            self._lists.clear()
            self._generated = 0
        sent = self._sent(asked)
        made: dict[str, Any] = {"n": number, "zh": zh, "en": en, "about": self._about(asked)}
        made["command"] = command.hex().upper() if asked.ins != _VERIFY else command[:5].hex().upper() + "*" * 16
        if not response:
            gone = note("卡片已离开, 无应答", "the card was gone: no answer")
            return made | {"sent": sent, "response": "", "sw": None, "sw_name": gone, "got": []}
        data, sw = response[:-2], int.from_bytes(response[-2:], "big")
        got = self._got(asked, data)
        shown = "".join(_again(node) for node in got) if got else data.hex().upper()
        if asked.ins == _PROVE or (asked.ins in (_GPO, _AC) and data[:1] == b"\x80"):
            shown = data.hex().upper()
        if asked.ins == _AC:
            self._generated += 1
        return made | {
            "sent": sent, "response": shown, "sw": f"{sw:04X}", "sw_name": note(*apdu.status_name(sw)), "got": got
        }  # fmt: skip

    def _about(self, asked: apdu.Command) -> str:
        if asked.ins == _SELECT:
            text = asked.data.decode("ascii") if asked.data.isascii() else ""
            return text if text.isprintable() and text else asked.data.hex().upper()
        if asked.ins == _READ:
            return f"SFI {asked.p2 >> 3}, {asked.p1}"
        if asked.ins in (_GET_DATA, _PUT_DATA):
            tag = f"{asked.p1:02X}{asked.p2:02X}"
            return tag.removeprefix("00")
        if asked.ins == _AC:
            kind = _KINDS.get(asked.p1 & 0xC0, f"{asked.p1:02X}")
            return f"{kind} + CDA" if asked.p1 & apdu.CDA_REQUEST else kind
        return ""

    def _sent(self, asked: apdu.Command) -> list[Node]:
        data = asked.data
        if asked.ins == _GPO and data[:1] == b"\x83":
            return self._by_list("9F38", data[3:] if data[1:2] == b"\x81" else data[2:])
        if asked.ins == _AC:
            return self._by_list("8D" if self._generated else "8C", data)
        if asked.ins == _INTERNAL:
            return self._by_list("9F49", data)
        if asked.ins == _PUT_DATA:
            return [opened(f"{asked.p1:02X}{asked.p2:02X}".removeprefix("00"), data[:-4])]
        if asked.ins == _EXTERNAL:
            return [opened("91", data)]
        return [opened("9F36", data)] if asked.ins == _PROVE else []

    def _by_list(self, tag: str, data: bytes) -> list[Node]:
        try:
            pairs = list(dol.split(self._lists.get(tag, b""), data).items())
        except TlvError:
            return []
        return many(pairs)

    def _got(self, asked: apdu.Command, data: bytes) -> list[Node]:
        if asked.ins == _PROVE:
            return [opened("9F26", data)] if data else []
        try:
            items = tlv.read(data)
        except TlvError:
            return []
        self._keep(items)
        if len(items) == 1 and items[0][0] == "80":
            value = items[0][1]
            if asked.ins == _GPO and len(value) >= 2:
                return many([("82", value[:2]), ("94", value[2:])])
            if asked.ins == _AC and len(value) >= 11:
                return many([(tag, value[start:end]) for tag, start, end in _FORMAT_1])
            if asked.ins == _INTERNAL:
                return many([("9F4B", value)])
        return many(items)

    def _keep(self, items: tlv.Items) -> None:
        for tag, value in items:
            if tag in ("9F38", "8C", "8D", "9F49"):
                self._lists[tag] = value
            elif tlv.is_template(tag):
                try:
                    self._keep(tlv.read(value))
                except TlvError:
                    continue


def _again(node: Node) -> str:
    """The bytes of an opened object, masked as it is."""
    value = str(node["value"])
    if "inner" in node:
        value = "".join(_again(part) for part in node["inner"])
    size = len(value) // 2
    length = f"{size:02X}" if size < 0x80 else f"81{size:02X}" if size < 0x100 else f"82{size:04X}"
    return f"{node['tag']}{length}{value}"


def steps(said: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
    """A whole dialogue."""
    listener = Listener()
    return [listener.step(number, *pair) for number, pair in enumerate(said, 1)]
