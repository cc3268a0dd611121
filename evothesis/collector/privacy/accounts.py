"""Accounts: bank accounts (IBAN) and American social security numbers."""

from __future__ import annotations

import itertools
import re
import string

from evothesis.collector.privacy.groups import Groups, is_word
from evothesis.collector.privacy.signs import APART, FINDS_AT_ONCE, GAP, LEFT, REDACTED, RIGHT, Pattern, compiled
from evothesis.collector.steps import Steps

# The registry of ISO 13616: what each country's numbers have in all
_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
        "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
        "YE30",
    )
}
_COUNTRIES = "|".join(_LENGTHS)
_IBAN = compiled(rf"(?i:\b(?:{_COUNTRIES}))[0-9]{{2}}")
_IBAN_GAPS = " -.+\u00a0\u202f"
_WITHOUT_GAPS = str.maketrans("", "", _IBAN_GAPS)
_VALUES = str.maketrans({letter: str(value) for value, letter in enumerate(string.ascii_uppercase, start=10)})
_DIGITS_MIN = 10  # what an account has at least; words of letters have none
_SSN = re.compile(r"(?!000|666|9)\d{3}(?!00)\d{2}(?!0000)\d{4}")
_SSN_LENGTH, _SSN_SHAPE = 9, [3, 2, 4]
_SSN_WORD = compiled(r"(?i)(?:\bssn|social[ _-]?security)[^0-9]{0,24}$")
_PRODUCT_WORD = compiled(r"(?i)\b(?:sku|item|order|part|model|art|article|product|invoice)[^\p{L}0-9]{0,4}$")
_WORD_LENGTH_MAX = 44  # of the word and of what may stand between it and the number

SIGHT = "|".join(
    (
        rf"{LEFT}(?:{_COUNTRIES})[0-9]{{2}}(?:{GAP}*[0-9A-Z]){{11}}",
        rf"{APART}(?i:{_COUNTRIES})[0-9]{{2}}(?:{GAP}*[0-9]{{4}}){{2}}",
        rf"{APART}(?i:{_COUNTRIES})[0-9]{{2}}{GAP}(?i:[a-z]{{4}}){GAP}*[0-9]{{4}}",
        rf"{APART}[0-9]{{3}}(?:[ -]|%20|%2[dD])[0-9]{{2}}(?:[ -]|%20|%2[dD])[0-9]{{4}}{RIGHT}",
        r"(?i:\bssn\b|social.{0,3}security)",
    )
)


def without_ibans(text: str) -> Steps[str]:
    """A text without bank accounts."""
    pieces: list[str] = []
    end = 0
    for count, match in enumerate(_IBAN.finditer(text), start=1):
        if match.start() >= end and (found := _iban_end(text, match.start())):
            pieces += text[end : match.start()], REDACTED
            end = found
        if count % FINDS_AT_ONCE == 0:
            yield
    return "".join((*pieces, text[end:])) if pieces else text


def _iban_end(text: str, begin: int) -> int:
    """Where the account that begins here ends; 0 when there is none (ISO 7064, MOD 97-10)."""
    length = _LENGTHS[text[begin : begin + 2].upper()]
    window = text[begin : begin + 2 * length]
    number = window.translate(_WITHOUT_GAPS)[:length]
    if len(number) < length or not (number.isascii() and number.isalnum()):
        return 0
    turned = number[4:] + number[:4]
    if sum(map(str.isdigit, number)) < _DIGITS_MIN or int(turned.upper().translate(_VALUES)) % 97 != 1:
        return 0
    end = begin + _length_with_gaps(window, length)
    return 0 if text[end : end + 1].isalnum() else end


def _length_with_gaps(window: str, length: int) -> int:
    characters = (position for position, character in enumerate(window, start=1) if character not in _IBAN_GAPS)
    return next(itertools.islice(characters, length - 1, None))


def count_ssn(groups: Groups, index: int) -> int:
    """How many groups, from this one on, are a social security number; 0 when none are."""
    found = groups.together(index, 4)
    if len(found[0]) == _SSN_LENGTH:
        return int(_is_ssn(found[0]) and _follows(_SSN_WORD, groups, index))
    gaps = groups.gaps(index, 3)
    if [len(part) for part in found[:3]] != _SSN_SHAPE or not _is_ssn("".join(found[:3])):
        return 0
    if is_word(groups.before(index)) or is_word(groups.after(index + 2)):
        return 0
    is_alone = groups.gap(index) in (None, " ") and groups.gap(index + 3) in (None, " ")
    if gaps == ["-", "-"]:
        return 3 if is_alone and not _follows(_PRODUCT_WORD, groups, index) else 0
    return 3 if is_alone and gaps == [" ", " "] and _follows(_SSN_WORD, groups, index) else 0


def _is_ssn(number: str) -> bool:
    """Numbers that were never given: https://www.ssa.gov/employer/randomization.html."""
    return _SSN.fullmatch(number) is not None


def _follows(word: Pattern, groups: Groups, index: int) -> bool:
    begin = groups.begin(index)
    return word.search(groups.text[max(0, begin - _WORD_LENGTH_MAX) : begin]) is not None
