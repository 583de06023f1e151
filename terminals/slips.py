"""The first slips a fleet prints, in both languages, a reprint now and then: what paper would show of a run."""

from typing import Final

from terminals.device.dialogue import Outcome
from terminals.device.memory import Memory
from terminals.device.receipt import Lang, receipt, reprint, settlement_slip

SLIPS_MAX: Final = 60
CUT_HERE: Final = "\n- - - 8< - - -\n\n"


class SlipBook:
    """Up to SLIPS_MAX slips, card numbers masked as on any slip."""

    def __init__(self) -> None:
        self._slips: list[str] = []

    def keep(self, memory: Memory, outcome: Outcome) -> None:
        """Keep the slip of a dialogue, if it has one and there is room."""
        slips = self._slips
        if len(slips) >= SLIPS_MAX:
            return
        lang: Lang = "en" if len(slips) % 4 == 3 else "zh"
        if outcome.kind == "settlement" and outcome.totals is not None:
            slips.append(settlement_slip(memory, outcome, lang))
        elif outcome.item is not None and outcome.approved:
            slips.append(receipt(memory, outcome.item, lang))
            if len(slips) % 10 == 9 and memory.last is not None:
                slips.append(reprint(memory, lang))

    def text(self) -> str:
        """All of them, one below the other."""
        return CUT_HERE.join(self._slips)
