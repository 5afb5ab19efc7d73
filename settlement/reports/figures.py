"""How figures and names are written in reports."""

from typing import Final

EXPONENTS: Final = {"392": 0, "410": 0}  # others have two decimals


def exponent(currency: str) -> int:
    """Decimals of a currency, by its ISO 4217 number."""
    return EXPONENTS.get(currency, 2)


def money(amount_minor: int | None, currency: str) -> str:
    """
    >>> money(-1234567, "156"), money(5, "156"), money(1500, "392")
    ('-12,345.67', '0.05', '1,500')
    """
    if amount_minor is None:
        return ""
    decimals = exponent(currency)
    whole, part = divmod(abs(amount_minor), 10**decimals)
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{whole:,}" + (f".{part:0{decimals}d}" if decimals else "")


def pairs(values: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(values.items()) if value)


def file_name(merchant: str) -> str:
    """A merchant id as a file's name: letters, digits, - and _ stay, other bytes in hex."""
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"-_" else f"%{byte:02X}"
        for byte in merchant.encode()
    )
