"""Cards: numbers of payment cards, alone, in groups or between letters."""

from __future__ import annotations

import re

from evothesis.collector.privacy.groups import Groups
from evothesis.collector.privacy.signs import GAP

LENGTH_MIN, LENGTH_MAX = 13, 19
# As cards are embossed. More than a space or a hyphen between groups is no card
_SHAPES = frozenset(
    {
        (4, 4, 4, 4),
        (4, 6, 5),
        (4, 6, 4),
        (4, 4, 4, 4, 3),
        (4, 4, 4, 4, 2),
        (4, 4, 4, 1),
        (4, 4, 4, 2),
        (4, 4, 4, 3),
        (4, 4, 4, 6),
        (4, 4, 4, 7),
        (6, 13),
        (6, 10),
    }
)
_SHAPE_LENGTHS = sorted({len(shape) for shape in _SHAPES}, reverse=True)
_GAP_LENGTH_MAX = 2
_GLUED_MAX = 24  # characters looked at on each side: enough to tell a hash from a word
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")

# Issuers' prefixes with the lengths that they have: ISO/IEC 7812, and the networks' own tables
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|"  # Visa
    r"(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|"  # Mastercard
    r"3[47]\d{13}|"  # American Express
    r"3(?:0[0-5]|09|[689]\d)(?:\d{11}|\d{13})|"  # Diners Club
    r"(?:352[89]|35[3-8]\d)\d{12}|"  # JCB
    r"(?:6011|64[4-9]\d|65\d\d|62\d\d)\d{12}|62\d{14,17}|"  # Discover, UnionPay
    r"220[0-4]\d{12}|9792\d{12}|"  # Mir, Troy
    r"(?:60|81|82|508)\d{13,14}|6062\d{12}|50[6-9]\d{13}|"  # RuPay, Hipercard, Verve, Elo
    r"(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{12}|(?:5018|5020|6304|6759|676[1-3])\d{14,15}|"  # Maestro
    r"(?:5019|63[67]\d)\d{12}"  # Dankort, InterPayment, InstaPayment
)
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
_EAN_LENGTH = 13

# In one group, not the decimals of a number, or in several; the last group of a UUID has twelve digits and another end
SIGHT = (
    r"(?:^|[^0-9.]|[^0-9]\.|%[0-9A-Fa-f]{2})(?:2[2-7]|[3-6][0-9]|8[12]|97)[0-9]{2}(?:[0-9]{9}|"
    rf"{GAP}+[0-9]{{4}}{GAP}+[0-9]{{4}}{GAP}+[0-9]{{1,7}}(?:[^0-9A-Fa-f]|$)|"
    rf"{GAP}+[0-9]{{6}}{GAP}+[0-9]{{4}}|[0-9]{{2}}{GAP}+[0-9]{{10}})"
)


def is_card(number: str) -> bool:
    """Whether digits are a card's number: an issuer's prefix and length, and Luhn's check (ISO/IEC 7812-1, annex B)."""
    if not _ISSUED.fullmatch(number):
        return False
    digits = number.encode()
    total = sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED)) - ord("0") * len(digits)
    return total % 10 == 0 and not _is_product(number)


def count(groups: Groups, index: int) -> int:
    """How many groups, from this one on, are a card's number; 0 when none are."""
    first = groups.digits(index)
    if LENGTH_MIN <= len(first) <= LENGTH_MAX:
        return int(is_card(first) and not _is_decimals(groups, index) and not _is_hash(groups, index))
    found = groups.together(index, _SHAPE_LENGTHS[0])
    for length in _SHAPE_LENGTHS:
        part = found[:length]
        is_shaped = len(part) == length and tuple(map(len, part)) in _SHAPES
        if is_shaped and is_card("".join(part)) and _is_embossed(groups.gaps(index, length)):
            return length
    return 0


def _is_product(number: str) -> bool:
    """Thirteen digits are a product's far more often than an old Visa card's: the check digit of EAN-13 decides."""
    if len(number) != _EAN_LENGTH:
        return False
    digits = [int(digit) for digit in number]
    return (sum(digits[::2]) + 3 * sum(digits[1::2])) % 10 == 0


def _is_embossed(gaps: list[str]) -> bool:
    return all(len(gap) <= _GAP_LENGTH_MAX and not set("()/") & set(gap) for gap in gaps)


def _is_decimals(groups: Groups, index: int) -> bool:
    begin = groups.begin(index)
    return groups.text[begin - 1 : begin] in (".", ",") and groups.text[max(0, begin - 2) : begin - 1].isdigit()


def _is_hash(groups: Groups, index: int) -> bool:
    """Whether the digits are a part of a longer hexadecimal number."""
    text, begin, end = groups.text, groups.begin(index), groups.end(index)
    left = text[max(0, begin - _GLUED_MAX) : begin][::-1]
    right = text[end : end + _GLUED_MAX]
    beside = "".join(side[: _alphanumeric_length(side)] for side in (left, right))
    return _HEXADECIMAL.issuperset(beside) and any(map(str.isdigit, beside))


def _alphanumeric_length(side: str) -> int:
    return next((length for length, character in enumerate(side) if not character.isalnum()), len(side))
