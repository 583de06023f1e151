"""The chip master keys of invented issuers, as a key ceremony would have brought them: derived from the seed."""

from collections.abc import Iterable
from typing import Final

from switch.crypto.cardkeys import USES, label
from switch.crypto.hsm import Hsm
from switch.issuer.portfolio import Issuer, Portfolio

SUITES: Final = ("3des", "sm4")


def take_master_keys(hsm: Hsm, portfolio: Portfolio, issuers: Iterable[Issuer] | None = None) -> dict[str, int]:
    """Put imk/{institution}/{suite}/{use} of some issuers (all of the portfolio) into the Hsm where they are missing.

    Returns how many were taken, by institution. A key that is there already stays: it may be the user's own.
    """
    taken: dict[str, int] = {}
    for issuer in portfolio.issuers if issuers is None else issuers:
        for suite in SUITES:
            for use in USES:
                name = label(issuer.institution, suite, use)
                if name not in hsm:
                    hsm.import_clear(name, "imk", suite, portfolio.master_key(issuer.institution, suite, use))
                    taken[issuer.institution] = taken.get(issuer.institution, 0) + 1
    return taken
