r"""Signs: the pieces that the rules' patterns are made of.

Patterns are for google-re2, which takes time linear in its input whatever strangers send. Each `SIGHT` is looked for in
texts, and also in the JSON of a whole body, where a text may be escaped: a line end is `\n`, a slash `\/`, and `\u`
hides any character, so that it is a sign by itself. In addresses of pages the same is done by `%`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import re2  # type: ignore[import-untyped]  # it has no stubs

from evothesis.collector.steps import Steps

REDACTED = "[redacted]"

# Edges of a word in JSON text, whose escapes end in a letter or a digit
LEFT = r"(?:^|[^0-9A-Za-z]|\\[bfnrt]|%[0-9A-Fa-f]{2})"
# The same without what stands before codes, amounts and parts of addresses; most digits of UUIDs follow a hyphen
APART = r"(?:^|[^0-9A-Za-z/\-._#&%@$€£¥*\\]|\\[bfnrt\"]|%[0-9A-Fa-f]{2})"
RIGHT = r"(?:[^0-9A-Za-z]|$)"
# What people write between groups of digits; `+` is a space in a query
GAPS = frozenset(" ()./+_-\u00a0\u2009\u2010\u2011\u2012\u2013\u2014\u2015\u202f")
GAP = r"(?:[ ()./+_\-\x{a0}\x{2009}\x{2010}-\x{2015}\x{202f}]|\\/|%[0-9A-Fa-f]{2})"

# Letters, digits and `-._~` need no encoding (RFC 3986), and a percent sign is encoded only to be decoded twice:
# somebody hides something
HIDDEN = r"\\u|%25[0-9A-Fa-f]{2}|%(?:2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])"

Pattern = Any  # a compiled pattern: re2 has no types
FINDS_AT_ONCE = 16  # in one step; to look at one takes up to a hundred microseconds
_AUTOMATON_BYTES_MAX = 2**26  # re2 gives up its fast way above 8 MiB, which all rules together need


def compiled(pattern: str) -> Pattern:
    """A pattern, compiled; re2 must not write to stderr when what a stranger sent takes it to its limits."""
    options = re2.Options()
    options.max_mem = _AUTOMATON_BYTES_MAX
    options.log_errors = False
    return re2.compile(pattern, options)


def replacing(pattern: Pattern, replacement: str | Callable[[Any], str], text: str) -> Steps[str]:
    """A text with something else in the place of all matches."""
    pieces: list[str] = []
    end = 0
    for count, match in enumerate(pattern.finditer(text), start=1):
        begin, match_end = match.span()
        pieces += text[end:begin], replacement if isinstance(replacement, str) else replacement(match)
        end = match_end
        if count % FINDS_AT_ONCE == 0:
            yield
    return "".join((*pieces, text[end:])) if pieces else text
