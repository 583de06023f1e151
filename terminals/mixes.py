"""What people come for at a shop's terminal, as shares of a mix."""

from collections.abc import Mapping
from typing import Final

MIX: Final[Mapping[str, int]] = {
    "sale": 48, "balance": 10, "preauth": 14, "completion": 9, "sale_void": 6, "refund": 5, "preauth_void": 3,
    "completion_void": 3, "echo": 2,
}  # fmt: skip
"""What people come for at a shop's terminal, in 100."""

WHOLE_MIX: Final[Mapping[str, int]] = {
    "sale": 400, "balance": 80, "preauth": 60, "completion": 50, "sale_void": 40, "refund": 40, "preauth_void": 20,
    "completion_void": 20, "echo": 4, "parameters": 3, "status": 3,
    "additional_preauth": 15, "completion_notice": 15, "offline_sale": 15, "adjust": 12, "tip": 15,
    "moto_sale": 15, "moto_sale_void": 10, "moto_preauth": 10, "moto_preauth_void": 10, "moto_completion": 10,
    "moto_completion_void": 10, "instalment_sale": 12, "instalment_sale_void": 10, "points_sale": 12,
    "points_sale_void": 10, "points_balance": 12, "reservation_sale": 12, "reservation_sale_void": 10,
    "account_load": 12, "cash_load_verify": 10, "cash_load": 10, "cash_load_confirm": 10, "transfer": 11,
    "assisted_withdrawal": 12,
}  # fmt: skip
"""Every row of the POS matrix, in 1,000."""

CHIP_MIX: Final[Mapping[str, int]] = {
    **WHOLE_MIX,
    "load_designated": 14, "load_cash": 9, "load_other": 6, "load_cash_void": 3, "load_takeup": 1,
    "chip_offline_refund": 5,
}  # fmt: skip
"""The same with what is done with electronic cash alone."""
