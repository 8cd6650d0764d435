"""How numbers are written on every sheet: a true minus, digits as long as one can read them, a space before %."""

from __future__ import annotations

from math import floor, isfinite, log10

_LEAST, _MOST = 1e-4, 1e7  # between these the digits are written out


def number(value: float, form: str = "g") -> str:
    """A number in this format: 1,234 for 1.234e+03, 4.5e−5 for 4.5e-05, and no −0.

    form: as of `format`; with "g" digits are written out from 0.0001 to 9,999,999.
    """
    if form.endswith("g") and isfinite(value) and _LEAST <= abs(value) < _MOST:
        return _written_out(value, int(form[1:-1] or 6) if form.startswith(".") else 6)
    text = format(value, form)
    mantissa, e, exponent = text.partition("e")
    if e:
        text = f"{mantissa}e{int(exponent)}"
    if text.startswith("-") and not text.strip("-0."):
        text = text[1:]
    return text.replace("-", "−")


def percent(share: float, decimals: int = 0) -> str:
    """A share as 31 %."""
    return f"{number(100 * share, f'.{decimals}f')} %"


def counted(count: int, noun: str) -> str:
    """So many of a thing: 1 photo, 1,024 photos; the noun in the plural."""
    return f"{count:,} {noun.removesuffix('s') if count == 1 else noun}"


def points(share: float, decimals: int = 0) -> str:
    """A difference of two shares as 31 points: it is no share of anything."""
    text = number(100 * share, f".{decimals}f")
    return f"{text} point{'' if text == '1' else 's'}"


def _written_out(value: float, digits: int) -> str:
    digits = max(digits, 1)
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    text = f"{float(f'{value:.{digits - 1}e}'):,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    whole, dot, rest = text.partition(".")
    # Of four digits none is lost without a comma; kernels and grids stay narrow.
    if len(whole.lstrip("-")) == len("1,234"):
        whole = whole.replace(",", "")
    return f"{whole}{dot}{rest}".replace("-", "−")
