"""Money: integer minor units with a currency; never a float (P5).

Currencies are ISO 4217 numeric codes as DE 49 carries them. Source: ISO 4217 list one, the
exponents ("minor unit") column.
"""

from __future__ import annotations

from typing import Final

import msgspec

AMOUNT_DIGITS: Final = 12

# numeric code: (letters, decimal places)
CURRENCIES: Final[dict[str, tuple[str, int]]] = {
    "008": ("ALL", 2),
    "012": ("DZD", 2),
    "032": ("ARS", 2),
    "036": ("AUD", 2),
    "044": ("BSD", 2),
    "048": ("BHD", 3),
    "050": ("BDT", 2),
    "051": ("AMD", 2),
    "052": ("BBD", 2),
    "060": ("BMD", 2),
    "064": ("BTN", 2),
    "068": ("BOB", 2),
    "072": ("BWP", 2),
    "084": ("BZD", 2),
    "090": ("SBD", 2),
    "096": ("BND", 2),
    "104": ("MMK", 2),
    "108": ("BIF", 0),
    "116": ("KHR", 2),
    "124": ("CAD", 2),
    "132": ("CVE", 2),
    "136": ("KYD", 2),
    "144": ("LKR", 2),
    "152": ("CLP", 0),
    "156": ("CNY", 2),
    "170": ("COP", 2),
    "174": ("KMF", 0),
    "188": ("CRC", 2),
    "192": ("CUP", 2),
    "203": ("CZK", 2),
    "208": ("DKK", 2),
    "214": ("DOP", 2),
    "230": ("ETB", 2),
    "242": ("FJD", 2),
    "262": ("DJF", 0),
    "270": ("GMD", 2),
    "292": ("GIP", 2),
    "320": ("GTQ", 2),
    "324": ("GNF", 0),
    "328": ("GYD", 2),
    "332": ("HTG", 2),
    "340": ("HNL", 2),
    "344": ("HKD", 2),
    "348": ("HUF", 2),
    "352": ("ISK", 0),
    "356": ("INR", 2),
    "360": ("IDR", 2),
    "364": ("IRR", 2),
    "368": ("IQD", 3),
    "376": ("ILS", 2),
    "388": ("JMD", 2),
    "392": ("JPY", 0),
    "398": ("KZT", 2),
    "400": ("JOD", 3),
    "404": ("KES", 2),
    "408": ("KPW", 2),
    "410": ("KRW", 0),
    "414": ("KWD", 3),
    "417": ("KGS", 2),
    "418": ("LAK", 2),
    "422": ("LBP", 2),
    "434": ("LYD", 3),
    "446": ("MOP", 2),
    "454": ("MWK", 2),
    "458": ("MYR", 2),
    "462": ("MVR", 2),
    "480": ("MUR", 2),
    "484": ("MXN", 2),
    "496": ("MNT", 2),
    "498": ("MDL", 2),
    "504": ("MAD", 2),
    "512": ("OMR", 3),
    "516": ("NAD", 2),
    "524": ("NPR", 2),
    "548": ("VUV", 0),
    "554": ("NZD", 2),
    "558": ("NIO", 2),
    "566": ("NGN", 2),
    "578": ("NOK", 2),
    "586": ("PKR", 2),
    "590": ("PAB", 2),
    "598": ("PGK", 2),
    "600": ("PYG", 0),
    "604": ("PEN", 2),
    "608": ("PHP", 2),
    "634": ("QAR", 2),
    "643": ("RUB", 2),
    "646": ("RWF", 0),
    "682": ("SAR", 2),
    "690": ("SCR", 2),
    "702": ("SGD", 2),
    "704": ("VND", 0),
    "706": ("SOS", 2),
    "710": ("ZAR", 2),
    "728": ("SSP", 2),
    "748": ("SZL", 2),
    "752": ("SEK", 2),
    "756": ("CHF", 2),
    "760": ("SYP", 2),
    "764": ("THB", 2),
    "776": ("TOP", 2),
    "780": ("TTD", 2),
    "784": ("AED", 2),
    "788": ("TND", 3),
    "800": ("UGX", 0),
    "807": ("MKD", 2),
    "818": ("EGP", 2),
    "826": ("GBP", 2),
    "834": ("TZS", 2),
    "840": ("USD", 2),
    "858": ("UYU", 2),
    "860": ("UZS", 2),
    "882": ("WST", 2),
    "886": ("YER", 2),
    "901": ("TWD", 2),
    "933": ("BYN", 2),
    "934": ("TMT", 2),
    "936": ("GHS", 2),
    "941": ("RSD", 2),
    "943": ("MZN", 2),
    "944": ("AZN", 2),
    "946": ("RON", 2),
    "949": ("TRY", 2),
    "950": ("XAF", 0),
    "951": ("XCD", 2),
    "952": ("XOF", 0),
    "953": ("XPF", 0),
    "967": ("ZMW", 2),
    "969": ("MGA", 2),
    "971": ("AFN", 2),
    "972": ("TJS", 2),
    "973": ("AOA", 2),
    "975": ("BGN", 2),
    "976": ("CDF", 2),
    "977": ("BAM", 2),
    "978": ("EUR", 2),
    "980": ("UAH", 2),
    "981": ("GEL", 2),
    "985": ("PLN", 2),
    "986": ("BRL", 2),
}


class Amount(msgspec.Struct, frozen=True, order=False):
    """So many minor units of one currency. Raises ValueError on an unknown currency.

    >>> Amount(12345, "156") + Amount(5, "156")
    Amount(minor=12350, currency='156')
    >>> str(Amount(-1205, "156")), str(Amount(500, "392"))
    ('-12.05 CNY', '500 JPY')
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise ValueError("amounts are integers in minor units")
        if self.currency not in CURRENCIES:
            raise ValueError(f"no currency {self.currency!r} in ISO 4217")

    def __add__(self, other: Amount) -> Amount:
        if other.currency != self.currency:
            raise ValueError("amounts of two currencies do not add")
        return Amount(self.minor + other.minor, self.currency)

    def __neg__(self) -> Amount:
        return Amount(-self.minor, self.currency)

    def __str__(self) -> str:
        return f"{format_minor(self.minor, self.currency)} {CURRENCIES[self.currency][0]}"


def is_currency(code: str) -> bool:
    """Whether DE 49's three digits are a currency that we know."""
    return code in CURRENCIES


def numeric_code(letters: str) -> str:
    """The numeric code of three letters; raises LookupError.

    >>> numeric_code("CNY")
    '156'
    """
    for code, (name, _) in CURRENCIES.items():
        if name == letters:
            return code
    raise LookupError(f"no currency {letters!r} in ISO 4217")


def format_minor(minor: int, currency: str) -> str:
    """The amount in major units with the currency's decimals; whole minor units if unknown.

    >>> format_minor(1, "156"), format_minor(-123456, "048")
    ('0.01', '-123.456')
    """
    exponent = CURRENCIES.get(currency, ("", 0))[1]
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).zfill(exponent + 1)
    return sign + (digits if exponent == 0 else f"{digits[:-exponent]}.{digits[-exponent:]}")


def parse_de4(digits: str) -> int:
    """DE 4 (n 12) as minor units; raises ValueError unless it is twelve ASCII digits.

    >>> parse_de4("000000012345")
    12345
    """
    if len(digits) != AMOUNT_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise ValueError("DE 4 is twelve digits")
    return int(digits)


def format_de4(minor: int) -> str:
    """Minor units as DE 4; raises ValueError when negative or beyond twelve digits.

    >>> format_de4(12345)
    '000000012345'
    """
    if not 0 <= minor < 10**AMOUNT_DIGITS:
        raise ValueError("DE 4 holds 0 to 999999999999 minor units")
    return f"{minor:012d}"
