"""A transaction on the screen, out of its document: commands, bits and reasons, certificates, cryptogram."""

from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from terminals.look.opened import money

Lang = Literal["zh", "en", "both"]
WIDE = 64
"""Hex digits of a value that are shown; `--json` has them all."""


class Screen:
    """Prints a document; `lang` as in `shoudan decode`."""

    def __init__(self, console: Console, lang: Lang) -> None:
        self._console = console
        self._lang = lang

    def show(self, told: Mapping[str, Any]) -> None:
        """All of it, in the order in which it happened."""
        self._head(told)
        for step in told["apdus"]:
            if step["n"] == told["issuer_apdus_from"]:
                self._issuer(told["issuer"], told["host"])
            self._step(step)
        if told["issuer_apdus_from"] is None or told["issuer_apdus_from"] > len(told["apdus"]):
            self._issuer(told["issuer"], told["host"])
        self._bits(told["bits"])
        self._action(told["action"])
        if told["card_decision"]:
            self._title("卡片的决定", "the card's decision")
            self._line(f"{told['card_decision']['result']} ← {self._in(told['card_decision']['why'])}", "", 3)
        self._certificates(told["certificates"])
        if told.get("crypto"):
            self._crypto(told["crypto"])
        self._end(told)

    def _in(self, texts: Mapping[str, Any]) -> str:
        zh, en = str(texts["zh"]), str(texts["en"])
        if self._lang == "both":
            return zh if zh == en else f"{zh} {en}".strip()
        return zh if self._lang == "zh" else en

    def _say(self, zh: str, en: str) -> str:
        return self._in({"zh": zh, "en": en})

    def _line(self, text: str, style: str = "", indent: int = 0) -> None:
        padded = Text(" " * indent + text, style=style)
        for line in padded.wrap(self._console, max(20, self._console.width - 1)):
            self._console.print(line)

    def _title(self, zh: str, en: str) -> None:
        self._console.print()
        self._line(self._say(zh, en), "bold cyan")

    def _head(self, told: Mapping[str, Any]) -> None:
        card, terminal = told["card"], told["terminal"]
        self._line(f"{self._in(card)} · {card['pan']} · PSN {card['psn']} · {card['source']}", "bold")
        where = self._say("插卡", "inserted") if told["command"] == "insert" else self._say("挥卡", "tapped")
        algorithms = "3DES/RSA + SM2/3/4" if terminal["sm"] else "3DES/RSA"
        self._line(
            f"{where} · {money(terminal['amount_minor'])} {terminal['currency'][1:]} · 9C {terminal['type_9c']} · "
            f"9F33 {terminal['capabilities']} · 9F35 {terminal['type']} · 9F66 {terminal['ttq']} · {algorithms}"
        )

    def _step(self, step: Mapping[str, Any]) -> None:
        about = f"  {step['about']}" if step["about"] else ""
        self._console.print()
        self._line(f"{step['n']}  {self._in(step)}{about}", "bold")
        self._line(f"> {self._cut(step['command'])}", "dim", 3)
        for node in step["sent"]:
            self._node(node, 5, notes=False)
        good = step["sw"] == "9000"
        answer = " ".join(part for part in ("<", step["sw"], self._in(step["sw_name"])) if part)
        self._line(answer, "green" if good else "yellow", 3)
        for node in step["got"]:
            self._node(node, 5)
        if step["response"] and not step["got"]:
            self._line(self._cut(step["response"]), "", 5)

    def _node(self, node: Mapping[str, Any], indent: int, notes: bool = True) -> None:
        value = "" if "inner" in node else f"  {self._cut(node['value'])}"
        reading = f"  = {node['reading']}" if node.get("reading") else ""
        self._line(f"{node['tag']} {self._in(node)}{value}{reading}", "", indent)
        for part in node.get("inner", ()):
            self._node(part, indent + 2, notes)
        for line in node.get("notes", ()) if notes else ():
            at = f"{line['at']} " if line.get("at") else ""
            self._line(f"· {at}{self._in(line)}".rstrip(), "dim", indent + 3)

    def _cut(self, digits: str) -> str:
        return digits if len(digits) <= WIDE else f"{digits[:WIDE]}… ({len(digits) // 2})"

    def _issuer(self, found: Mapping[str, Any] | None, host: Mapping[str, Any] | None) -> None:
        if found is None:
            return
        self._title("发卡行", "issuer")
        if found["verified"]:
            self._line(
                self._say(f"密文正确 ({found['suite']})", f"the cryptogram verifies ({found['suite']})"), "green", 3
            )
        else:
            self._line(self._say("密文不正确", "the cryptogram does not verify"), "bold red", 3)
        if found["iad_mac"] is not None:
            right = found["iad_mac"]
            text = self._say("自定义数据MAC正确", "MAC of issuer data is right")
            self._line(
                text if right else self._say("自定义数据MAC错误", "MAC of issuer data is wrong"),
                "" if right else "red",
                3,
            )
        if found.get("fault"):
            self._line(found["fault"], "red", 3)
        if found.get("mismatch"):
            self._mismatch(found["mismatch"])
        if host:
            self._host(host)
        elif found["arc"]:
            arpc = f", ARPC {found['arpc']}" if found["arpc"] else self._say(", 无ARPC", ", no ARPC")
            self._line(f"{self._say('应答', 'answers')} {found['arc']}{arpc}", "", 3)

    def _host(self, host: Mapping[str, Any]) -> None:
        """What a real host said, and what the terminal could not put right afterwards."""
        said = f"DE39 {host['arc']} {self._in(host['text'])}" if host["arc"] else host["reason"] or host["state"]
        self._title(f"主机 (终端 {host['tid']})", f"host (terminal {host['tid']})")
        self._line(f"{host['kind']}: {said}", "green" if host["state"] == "approved" else "yellow", 3)
        if host["rrn"]:
            self._line(f"DE11 {host['stan']}  DE37 {host['rrn']}  DE38 {host['auth_code'] or '-'}", "", 3)
        for node in host["field55"]:
            self._node(node, 3)
        if host["open"]:
            self._line(f"{self._say('未了结', 'still owed')}: {host['open']}", "red", 3)

    def _mismatch(self, found: Mapping[str, Any]) -> None:
        at = found["first_difference"]
        self._line(f"{self._say('应为', 'expected ')} {found['expected']}", "", 5)
        self._line(f"{self._say('卡片', 'presented')} {found['presented']}", "", 5)
        self._line(self._say(f"第{at + 1}字节起不同", f"differs from byte {at + 1} on"), "yellow", 5)
        cause = found["cause"]
        text = self._in(cause) if cause else self._say("不是常见的错误", "none of the usual mistakes explains it")
        self._line(f"{self._say('可能的原因', 'likely cause')}: {text}", "bold yellow", 5)

    def _bits(self, strings: Mapping[str, Any]) -> None:
        for name, string in strings.items():
            self._title(f"{name} {string['value']}", f"{name} {string['value']}")
            for bit in string["set"]:
                why = self._in(bit["why"])
                codes = f"  [{' '.join(bit['codes'])}]" if bit.get("codes") else ""
                reason = f" ← {why}" if why else ""
                self._line(f"{bit['byte']}.{bit['bit']} {self._in(bit)}{reason}{codes}", "", 3)
            if not string["set"]:
                self._line(self._say("没有置位", "no bit is set"), "dim", 3)

    def _action(self, action: Mapping[str, Any] | None) -> None:
        if action is None:
            return
        self._title("终端行为分析", "terminal action analysis")
        for name, code in action["codes"].items():
            met = name in action["met"]
            self._line(f"{name:<11} {code}{self._say('  命中', '  met') if met else ''}", "yellow" if met else "dim", 3)
        self._line(f"{self._say('请求', 'asks for')} {action['asked']}: {self._in(action['why'])}", "", 3)

    def _certificates(self, chain: list[Mapping[str, Any]]) -> None:
        if not chain:
            return
        self._title("证书与签名", "certificates and signatures")
        for one in chain:
            fields = "  ".join(f"{key} {value}" for key, value in one["fields"].items())
            verdict = f"✗ {self._in(one['fault'])}" if one["fault"] else "✓"
            self._line(
                f"{verdict} {one['tag']} {self._in(one)}  {one['kind'].upper()}", "red" if one["fault"] else "green", 3
            )
            self._line(fields, "dim", 7)

    def _crypto(self, crypto: Mapping[str, Any]) -> None:
        self._title(f"应用密文 ({crypto['suite']})", f"the cryptogram ({crypto['suite']})")
        self._line(self._in(crypto["notice"]), "yellow", 3)
        self._line(f"{self._say('覆盖', 'covers')} {' '.join(crypto['covers'])}", "", 3)
        for step in crypto["steps"]:
            self._line(self._in(step), "dim", 3)
            self._line(step["value"], "", 7)

    def _end(self, told: Mapping[str, Any]) -> None:
        presented, done, cvm = told["presented"], told["completed"], told["cvm"]
        self._title("结果", "outcome")
        self._line(f"CVM: {self._in(cvm)} ← {self._in(cvm['why'])}", "", 3)
        if presented["e_cash"] or told["e_cash"]["before_minor"]:
            before, after = (money(told["e_cash"][key]) for key in ("before_minor", "after_minor"))
            self._line(f"{self._say('电子现金', 'e-cash')} {before} → {after}", "", 3)
        if presented["torn"]:
            self._line(
                self._say(f"卡片离开{presented['torn']}次", f"the card left {presented['torn']} time(s)"), "yellow", 3
            )
        for stage in (presented, done):
            if stage is not None:
                reason = self._in(stage["reason_text"])
                name = self._say("首次", "first") if stage is presented else self._say("最终", "in the end")
                self._line(f"{name}: {self._in(stage)}{': ' + reason if reason else ''}", "", 3)
        if done is not None and done["script_results"]:
            self._line(f"DF31 {done['script_results']}", "", 3)
        good, found = told["approved"], told["issuer"]
        if presented["outcome"] == "approved" and found and not found["verified"]:
            refused = self._say(
                "终端批准, 但发卡行不认这个TC", "approved by the terminal; the issuer will refuse this TC"
            )
            self._line(refused, "bold red", 3)
        verdict = self._say("交易批准", "the transaction is approved") if good else self._say("交易未成", "no approval")
        self._line(verdict, "bold green" if good else "bold red", 3)
