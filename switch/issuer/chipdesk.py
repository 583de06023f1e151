"""Where a bank asks about chips: whose chip a message is about, and which of its doors it takes."""

from typing import Any, Final

from switch.crypto.cardkeys import CardKeys
from switch.crypto.hsm import Hsm
from switch.issuer.chips import ChipRules, Chips
from switch.issuer.portfolio import Card, Portfolio
from switch.issuer.register import Entry
from switch.issuer.request import Request

NO_ISSUER: Final = "15"
NO_DATA: Final = "30"


class ChipDesk:
    """One bank's desk. `rooms` are the chips of all banks behind the same centre, by institution: a load may be paid
    from an account of another bank than the chip's."""

    def __init__(self, institution: str, portfolio: Portfolio, hsm: Hsm, rules: ChipRules | None = None) -> None:
        self.institution = institution
        self.chips = Chips(institution, CardKeys(hsm), portfolio, rules)
        self.rooms: dict[str, Chips] = {institution: self.chips}

    def __repr__(self) -> str:
        return f"ChipDesk({self.institution})"

    def judge(self, request: Request, card: Card) -> str:
        """The code that refuses a request for what its chip says, "" also where it says nothing (no DE55).

        The chip is that of the card that pays, but in a load from another account it is the chip that is loaded.
        """
        if not request.icc_data:
            return NO_DATA if request.row.chip else ""
        if request.row.chip != "load" or not request.row.detail:
            return self.chips.on_request(request, card)
        room = self.rooms.get(request.receiving)
        loaded = None if room is None else room.portfolio.find(request.receiver)
        return NO_ISSUER if room is None or loaded is None else room.on_request(request, loaded)

    def plan(self, request: Request, entry: Entry) -> str:
        """The code that refuses a load that is fit to be paid, "" for every other request."""
        reading = request.chip
        if reading is None or not request.row.chip:
            return ""
        return reading.chips.plan_load(reading, request, entry.original)

    def judge_advice(self, request: Request, entry: Entry, card: Card) -> str | None:
        """The code that refuses an offline sale or script notice, "" to accept it, None for other advice."""
        if request.row.chip == "notice":
            return self.chips.on_notice(request, card)
        if request.row.chip == "offline":
            code, entry.purse = self.chips.on_offline(request, card)
            return code
        return None

    def judge_reversal(self, request: Request, original: Entry) -> str:
        """25 for a load that may be on its chip, "" for everything else."""
        if original.row.chip != "load":
            return ""
        institution = original.receiver.institution if original.receiver else self.institution
        room = self.rooms.get(institution)
        return "25" if room is None else room.on_reversal(request, original.key)

    def answer(self, request: Request, entry: Entry) -> tuple[bytes, list[tuple[Any, ...]]]:
        """DE55 of the answer, and rows of the CHIPS table without number and line."""
        reading = request.chip
        if reading is None:
            return b"", []
        icc_data = reading.chips.answer(request, entry)
        return icc_data, reading.chips.rows(reading, request, entry)
