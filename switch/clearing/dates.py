"""Dates of rows, in Beijing time and without a clock: rows know epoch milliseconds, and settlement days only MMDD."""

from typing import Final

BEIJING_S: Final = 8 * 3600
_DAY_S: Final = 86_400
_MONTH_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_HALF_A_YEAR: Final = 183


def day_number(at_ms: int) -> int:
    """Days from 1970-01-01 to the day, in Beijing, of epoch milliseconds."""
    return (at_ms // 1000 + BEIJING_S) // _DAY_S


def civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar counted from March.

    >>> civil(17_050)
    (2016, 9, 6)
    """
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    return era * 400 + year + (month >= 10), (month + 2) % 12 + 1, day


def full_date(mmdd: str, at_ms: int) -> str:
    """A settlement day MMDD with the year that brings it nearest to `at_ms`; the day of `at_ms` where it is "".

    >>> full_date("0101", 1_798_718_400_000)  # 2026-12-31 20:00 in Beijing
    '2027-01-01'
    """
    year, month, day = civil(day_number(at_ms))
    if mmdd:
        wanted = int(mmdd[:2]), int(mmdd[2:])
        apart = (wanted[0] - month) * 30 + wanted[1] - day
        year += (apart < -_HALF_A_YEAR) - (apart > _HALF_A_YEAR)
        month, day = wanted
    return f"{year:04d}-{month:02d}-{day:02d}"


def is_date(text: str) -> bool:
    """Whether a text is a date YYYY-MM-DD that exists."""
    parts = text.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(part.isascii() and part.isdigit() for part in parts):
        return False
    year, month, day = map(int, parts)
    if not 1 <= month <= 12 or not 1 <= day <= _MONTH_DAYS[month - 1]:
        return False
    return (month, day) != (2, 29) or (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))


def within(day: str, first: str, last: str) -> bool:
    """Whether a settlement day MMDD lies in a span, both ends included, "" open.

    A `first` after `last` means a span over New Year.
    """
    if first and last and first > last:
        return day >= first or day <= last
    return (not first or day >= first) and (not last or day <= last)
