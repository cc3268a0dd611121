"""Numbers: cards, social security numbers and telephones among the digits of a text.

The groups of digits are found once, and each rule looks at a few that stand together: the work is linear in their
number.
"""

from __future__ import annotations

from evothesis.collector.privacy import accounts, cards, phones
from evothesis.collector.privacy.groups import Groups
from evothesis.collector.privacy.signs import FINDS_AT_ONCE, REDACTED
from evothesis.collector.steps import Steps

SIGHT = f"{cards.SIGHT}|{phones.SIGHT}"


def cleaning(text: str, *, is_identifier: bool) -> Steps[str]:
    """A text without them; of an identifier only without what no identifier is: cards, and telephones with `+`."""
    groups = yield from Groups.finding(text)
    pieces: list[str] = []
    end = index = turns = 0
    while index < len(groups):
        count = cards.count(groups, index) or (0 if is_identifier else accounts.count_ssn(groups, index))
        begin = groups.begin(index)
        if not count and (count := phones.count(groups, index, is_identifier=is_identifier)):
            begin = phones.begin(groups, index, count)
        if count:
            pieces += text[end:begin], REDACTED
            end = groups.end(index + count - 1)
        index += count or 1
        turns += 1
        if turns % FINDS_AT_ONCE == 0:
            yield
    return "".join((*pieces, text[end:])) if pieces else text
