"""An issuer's chips: whether a cryptogram and its counter are right, what the chip is answered, what it was told to do.

    request    ARQC verified, counter forward, CVR looked at; the answer carries ARPC and commands (71, 72)
    offline    TC verified, its counter not used before (94); the shadow account pays for electronic cash
    load       the chip's own balance and the amount make the new balance; see loads.py for what comes after
    notice     0620: what became of the commands

The shadow account (影子账户) of a card is what the issuer owes the holder of its electronic cash: what was loaded, less
the offline sales uploaded. Everything that changes a chip's state is a row of the CHIPS table, and the same rows bring
the state back. See docs/e-cash.md; JR/T 0025.5 and 0025.7.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from switch.crypto.cardkeys import USES, CardKeys, label
from switch.crypto.cryptogram import ac_input
from switch.crypto.errors import CryptoError
from switch.issuer.chipdata import AAC, ARQC, TC, ChipData, ScriptResult, read_chip, read_results
from switch.issuer.chipfacts import balance_max_minor, issued_minor, psn_of
from switch.issuer.chipstate import Chip, Note, Reading
from switch.issuer.commands import answer_of
from switch.issuer.loads import OPEN, UNDECIDED, Load, Seen, State
from switch.issuer.portfolio import Card, Portfolio
from switch.issuer.register import Entry, Key
from switch.issuer.request import Request
from switch.wire.errors import TlvError
from switch.wire.redact import mask_pan

STOLEN: Final = "43"
"""The answer with which a stolen card is told to block its application."""

CONTACTLESS: Final = frozenset(("07", "98"))
"""First two digits of DE22 of a chip read in the field."""

_SCRIPTED: Final = {True: "scripts done", False: "no script done", None: ""}
_KEEP_DAYS: Final = 31


class ChipRules(NamedTuple):
    """What an issuer's chips are refused with, and how far a counter may jump between two sights of a card."""

    cryptogram_code: str = "05"
    atc_code: str = "63"
    keys_code: str = "A7"
    atc_jump_max: int = 1_000


class Chips:
    """The chips of one issuer, whose cards are those of `portfolio`."""

    def __init__(self, institution: str, keys: CardKeys, portfolio: Portfolio, rules: ChipRules | None = None) -> None:
        self.institution = institution
        self.portfolio = portfolio
        self.rules = rules or ChipRules()
        self._keys = keys
        self._chips: dict[str, Chip] = {}
        self._loads: dict[Key, tuple[Chip, Load]] = {}
        self._by_number: dict[int, tuple[Chip, Load]] = {}
        self._days: list[list[Load]] = [[]]

    def __repr__(self) -> str:
        return f"Chips({self.institution}, {len(self._chips)} seen)"

    def chip(self, card: Card) -> Chip:
        """What is known of a card's chip."""
        ref = self.portfolio.reference(card.pan)
        chip = self._chips.get(ref)
        if chip is None:
            chip = self._chips[ref] = Chip(ref, mask_pan(card.pan), issued_minor(card))
        return chip

    def open_loads(self) -> list[Load]:
        """Loads whose money the chip may not have: sent, in doubt, or known not to be written."""
        return [load for _, load in self._by_number.values() if load.state in OPEN]

    def turn_day(self) -> None:
        """A new settlement day: forget loads that were settled a month ago."""
        self._days.append([])
        if len(self._days) > _KEEP_DAYS:
            for load in self._days.pop(0):
                if load.state in OPEN:
                    self._days[-1].append(load)
                    continue
                chip, _ = self._by_number.pop(load.number)
                chip.loads.remove(load)
                for key in [key for key, (_, one) in self._loads.items() if one is load]:
                    del self._loads[key]

    # Requests

    def on_request(self, request: Request, card: Card) -> str:
        """The code that refuses an online request for what its chip says, "" if cryptogram, counter and CVR are right.

        30 DE55 cannot be read; 05 a cryptogram that is not this card's, or no ARQC; 63 a counter that repeats, goes
        back or jumps; 64 another amount than DE4; 12 another currency; 75 the chip's PIN tried too often and none
        online; A7 no master keys of this issuer.
        """
        reading = request.chip = Reading(self, self.chip(card))
        code, cause = self._read(reading, request, card)
        if not code and reading.data is not None:
            code, cause = self._refuse_online(reading, reading.data)
        if code:
            reading.note("refused", detail=cause)
            return code
        self._see(reading)
        return "75" if reading.tries_exceeded and request.pin is None else ""

    def _read(self, reading: Reading, request: Request, card: Card) -> tuple[str, str]:
        """DE55 read and its cryptogram verified: the code that refuses it, and why."""
        reading.balance_max_minor = balance_max_minor(card)
        try:
            data = read_chip(request.icc_data)
            covered = ac_input(data.iad.cvn, data.values, data.values["9F10"])
        except (TlvError, CryptoError):
            return "30", "cannot be read"
        reading.data = data
        reading.contact = request.entry_mode[:2] == "05" or bool(request.receiver)
        suite = data.iad.suite
        if any(label(self.institution, suite, use) not in self._keys.hsm for use in USES):
            return self.rules.keys_code, f"no {suite} master keys"
        reading.keys = self._keys.chip(self.institution, suite, card.pan, request.psn or psn_of(card), data.atc)
        if not reading.keys.verify(covered, data.ac):
            return self.rules.cryptogram_code, "cryptogram"
        if request.row.amount and int(data.values["9F02"].hex()) != request.amount_minor:
            return "64", "amount"
        if data.values["5F2A"].hex() != request.currency.zfill(4):
            return "12", "currency"
        if data.iad.told and data.iad.balance_minor is not None:
            if not reading.keys.verify_iad_mac(data.iad.told, data.iad.mac):
                return self.rules.cryptogram_code, "balance"
            reading.told_minor = data.iad.balance_minor
        return "", ""

    def _refuse_online(self, reading: Reading, data: ChipData) -> tuple[str, str]:
        if data.kind != ARQC or data.iad.first != ARQC or data.iad.second_tc:
            return self.rules.cryptogram_code, "no ARQC"
        last = reading.chip.atc
        if data.atc == last or data.atc in reading.chip.used:
            return self.rules.atc_code, "counter repeated"
        if data.atc < last:
            return self.rules.atc_code, "counter back"
        if last >= 0 and data.atc - last > self.rules.atc_jump_max:
            return self.rules.atc_code, "counter jump"
        return "", ""

    def _see(self, reading: Reading) -> None:
        """A chip that has proved itself online: its counter stands, and its balance may decide a load."""
        data, chip = reading.data, reading.chip
        if data is None:
            return
        reading.verified = True
        scripted = None
        if reading.contact and any(load.atc == chip.online_atc for load in chip.loads):
            scripted = bool(data.iad.scripts) and not data.iad.script_failed
        chip.online_atc = data.atc
        reading.note("online", detail=_SCRIPTED[scripted])
        seen = None if reading.told_minor < 0 else Seen(data.atc, reading.told_minor, scripted)
        self._move(reading, data.atc, 0, seen)

    # Loads

    def plan_load(self, reading: Reading, request: Request, original: Entry | None) -> str:
        """The code that refuses a load, its void or its take-up; "" and the new balance is planned.

        58 not by contact; 40 the chip does not tell its balance; 25 nothing to take up; 12 the load to be voided is not
        known to be written; 61 above the chip's limit; 51 less on the chip than is to be taken off.
        """
        amount = request.amount_minor
        if not reading.contact:
            return "58"
        if request.row.chip == "takeup":
            reading.load = next((load for load in reading.chip.loads if load.state == "unwritten"), None)
            if reading.load is None:
                return "25"
            amount = reading.load.amount_minor
        elif original is not None:
            load = self._loads.get(original.key, (None, None))[1]
            if load is not None and load.state != "written":
                return "12"
            amount = -amount
        if reading.told_minor < 0:
            return "40"
        balance = reading.told_minor + amount
        if balance > reading.balance_max_minor:
            return "61"
        if balance < 0:
            return "51"
        reading.new_balance_minor = balance
        return ""

    def on_reversal(self, request: Request, original: Key) -> str:
        """25 where a load is not to be undone: the chip has it, or nobody knows; "" where it certainly has not."""
        found = self._loads.get(original)
        if found is None:
            return "25"
        chip, load = found
        reading = request.chip = Reading(self, chip)
        try:
            results = read_results(request.icc_data)
        except TlvError:
            return "30"
        if load.state in ("written", "reversed"):
            return "25"
        done = _result_for(load, results, original)
        if done:
            self._settle(reading, load, "written")
            return "25"
        if done is None and load.state != "unwritten":
            self._settle(reading, load, "doubt")
            return "25"
        self._settle(reading, load, "reversed")
        return ""

    def _settle(self, reading: Reading, load: Load, state: State) -> None:
        load.state = state
        amount = load.amount_minor if state == "reversed" else 0
        reading.note(f"load_{state}", atc=load.atc, amount_minor=amount, load=load)

    # Advice

    def on_offline(self, request: Request, card: Card) -> tuple[str, str]:
        """The code that refuses an offline transaction's certificate, and the purse that pays: "e_cash" or the account.

        05 forged, 94 its counter has paid before, 12 an offline decline (listed, moves no money), 64 another amount.
        """
        reading = request.chip = Reading(self, self.chip(card))
        code, cause = self._read(reading, request, card)
        data, chip = reading.data, reading.chip
        if code or data is None:
            reading.note("forged", detail=cause)
            return code, ""
        if data.kind == AAC:
            reading.note("declined")
            self._move(reading, data.atc, 0, None)
            return "12", ""
        if data.kind != TC or not data.iad.offline_tc:
            reading.note("forged", detail="no TC")
            return self.rules.cryptogram_code, ""
        if data.atc in chip.used:
            reading.note("replay")
            return "94", ""
        chip.used.add(data.atc)
        # A card torn from the field after it paid may have left no 9F74: an offline tap is electronic cash always.
        # A TC given because nobody could be asked (Y3) is none: the chip takes it off its counters, not its balance.
        e_cash = data.iad.first == TC and (data.e_cash or request.entry_mode[:2] in CONTACTLESS)
        amount = request.amount_minor if e_cash else 0
        beyond = amount > chip.shadow_minor
        reading.note("offline", amount_minor=amount, detail="beyond the shadow account" if beyond else "")
        seen = None if reading.told_minor < 0 else Seen(data.atc, reading.told_minor)
        self._move(reading, data.atc, amount, seen)
        return "", "e_cash" if e_cash else ""

    def _move(self, reading: Reading, atc: int, spent_minor: int, seen: Seen | None) -> None:
        for load, found in reading.chip.moved(atc, spent_minor, seen):
            reading.note(f"load_{found}", load=load)

    def on_notice(self, request: Request, card: Card) -> str:
        """What a 0620 says of the commands sent with the answer that DE90 names. 30 without results."""
        reading = request.chip = Reading(self, self.chip(card))
        try:
            results = read_results(request.icc_data)
        except TlvError:
            results = None
        if results is None:
            return "30"
        done = sum(result.done for result in results)
        reading.note("notice", detail=f"{done} done, {len(results) - done} not")
        chip, load = self._loads.get(request.original, (None, None)) if request.original else (None, None)
        if load is not None and chip is reading.chip and load.state in UNDECIDED:
            outcome = _result_for(load, results, request.original)
            if outcome is not None:
                self._settle(reading, load, "written" if outcome else "unwritten")
        for detail in reading.chip.orders.results(results):
            reading.note("script", detail=detail)
        return ""

    # Answers

    def answer(self, request: Request, entry: Entry) -> bytes:
        """DE55 of an answer: 9F36, ARPC with the response code (91), commands (71, 72); b"" where nothing verified."""
        reading = request.chip
        if reading is None or reading.data is None or reading.keys is None or not reading.verified:
            return b""
        if entry.approved and reading.new_balance_minor >= 0:
            self._send_load(reading, request, entry)
        if entry.approved and reading.tries_exceeded:
            reading.notes += self._order(reading.chip, "pin_unblock")
        if entry.response_code == STOLEN:
            reading.notes += self._order(reading.chip, "app_block")
        sent = reading.chip.orders.due() if reading.contact else []
        balance = reading.new_balance_minor if entry.approved else -1
        icc_data = answer_of(reading.data, reading.keys, entry.response_code, balance, sent)
        for order in sent:
            reading.note("script", detail=reading.chip.orders.sent(order))
        return icc_data

    def _send_load(self, reading: Reading, request: Request, entry: Entry) -> None:
        data, load = reading.data, reading.load
        if data is None:
            return
        if load is not None:
            load.again(entry.key, data.atc, reading.told_minor)
            self._loads[entry.key] = (reading.chip, load)
            reading.note("take_up", load=load)
            return
        amount = reading.new_balance_minor - reading.told_minor
        load = Load(entry.key, request.rrn, data.atc, amount, reading.told_minor, entry.settlement_date)
        self._keep(reading.chip, load, entry.number)
        reading.note("load", load=load, amount_minor=-amount)

    def _keep(self, chip: Chip, load: Load, number: int) -> None:
        load.number = number
        chip.loads.append(load)
        self._loads[load.key] = self._by_number[number] = (chip, load)
        self._days[-1].append(load)

    def rows(self, reading: Reading, request: Request, entry: Entry) -> list[tuple[Any, ...]]:
        """The events of one message as rows of the CHIPS table, without number and line."""
        chip, rows = reading.chip, []
        for note in reading.notes:
            chip.shadow_minor -= note.amount_minor
            rows.append((
                entry.at_ms, self.institution, chip.ref, chip.pan_masked, note.event, note.atc, note.amount_minor,
                note.balance_minor, chip.shadow_minor, *entry.key, request.rrn,
                note.load.number if note.load else 0, entry.settlement_date, note.detail,
            ))  # fmt: skip
        return rows

    # Orders

    def order(self, card: Card, kind: str) -> Reading:
        """An operator's order for a chip (a name of commands.KINDS), told with its next answer by contact."""
        reading = Reading(self, self.chip(card))
        reading.notes += self._order(reading.chip, kind)
        return reading

    def _order(self, chip: Chip, kind: str) -> list[Note]:
        detail = chip.orders.add(kind)
        return [Note("script", max(chip.atc, 0), detail=detail)] if detail else []

    # After a restart

    def take_up(self, row: Mapping[str, Any]) -> None:
        """One row of the CHIPS table, in order."""
        chip = self._chips.get(row["card_ref"])
        if chip is None:
            chip = self._chips[row["card_ref"]] = Chip(row["card_ref"], row["pan_masked"], 0)
        chip.shadow_minor = row["shadow_minor"]
        event, atc, told = row["event"], row["atc"], row["balance_minor"]
        key = Key(row["net_mti"], row["net_time"], row["net_stan"], row["acquirer"], row["forwarder"])
        if event in ("online", "offline", "declined"):
            scripted = {word: value for value, word in _SCRIPTED.items()}.get(row["detail"])
            seen = None if told < 0 or event == "declined" else Seen(atc, told, scripted)
            # what this decides stands in rows of its own
            for load, _ in chip.moved(atc, row["amount"], seen):
                load.state = "sent"
            if event == "online":
                chip.online_atc = atc
            elif event == "offline":
                chip.used.add(atc)
        elif event == "load":
            load = Load(key, row["rrn"], atc, -row["amount"], told, row["settlement_date"])
            self._keep(chip, load, row["load"])
        elif event == "take_up":
            load = self._by_number[row["load"]][1]
            load.again(key, atc, told)
            self._loads[key] = (chip, load)
        elif event.startswith("load_") and row["load"] in self._by_number:
            self._by_number[row["load"]][1].state = event.removeprefix("load_")
        elif event == "script":
            chip.orders.take_up(row["detail"])


def _result_for(load: Load, results: Sequence[ScriptResult] | None, original: Key | None) -> bool | None:
    """Whether the load's command was carried out: by its script identifier, or the only result there is of the
    transaction that carried it; None if nobody says so."""
    if not results:
        return None
    named = [result.done for result in results if result.script_id == load.script_id]
    if named:
        return named[-1]
    # A result without identifier that comes late is about the first try, not about the take-up sent since.
    unnamed = len(results) == 1 and not any(results[0].script_id) and original == load.sent_by
    return results[0].done if unnamed else None
