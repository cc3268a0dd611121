"""Groups: the digits of a text as they are written, `0171 234-56` as three groups."""

from __future__ import annotations

import re

from evothesis.collector.privacy.signs import GAPS, compiled

GAP_LENGTH_MAX = 3
_DIGITS = re.compile(r"[0-9]+")
_UUID = compiled(r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b")
_UUID_LENGTH, _UUID_HYPHENS = 36, 4


class Groups:
    """The groups of digits of a text, without those of its UUIDs."""

    def __init__(self, text: str) -> None:
        """Find them."""
        self.text = text
        without_uuids = _UUID.sub("x" * _UUID_LENGTH, text) if text.count("-") >= _UUID_HYPHENS else text
        self._spans = [match.span() for match in _DIGITS.finditer(without_uuids)]
        self._gaps = [None, *map(self._gap, self._spans, self._spans[1:]), None]

    def __len__(self) -> int:
        return len(self._spans)

    def begin(self, index: int) -> int:
        """Where a group begins."""
        return self._spans[index][0]

    def end(self, index: int) -> int:
        """Where a group ends."""
        return self._spans[index][1]

    def digits(self, index: int) -> str:
        """The group itself."""
        begin, end = self._spans[index]
        return self.text[begin:end]

    def gap(self, index: int) -> str | None:
        """What stands between a group and the one before it; None when they do not stand together."""
        return self._gaps[index]

    def together(self, index: int, count_max: int) -> list[str]:
        """A group and those that stand together with it, `count_max` at most."""
        following = self._gaps[index + 1 : index + count_max]
        count = following.index(None) + 1 if None in following else count_max
        return [self.text[begin:end] for begin, end in self._spans[index : index + count]]

    def gaps(self, index: int, count: int) -> list[str]:
        """What stands between so many groups that stand together."""
        return [gap or "" for gap in self._gaps[index + 1 : index + count]]

    def _gap(self, span: tuple[int, int], following: tuple[int, int]) -> str | None:
        gap = self.text[span[1] : min(following[0], span[1] + GAP_LENGTH_MAX + 1)]
        return gap if len(gap) <= GAP_LENGTH_MAX and GAPS.issuperset(gap) else None

    def before(self, index: int) -> str:
        """The character before a group; empty at the beginning of the text."""
        begin = self.begin(index)
        return self.text[begin - 1 : begin]

    def after(self, index: int) -> str:
        """The character behind a group; empty at the end of the text."""
        end = self.end(index)
        return self.text[end : end + 1]


def is_word(character: str) -> bool:
    """Whether a letter or a digit stands beside digits; those of languages without spaces do not count."""
    return character.isascii() and character.isalnum()
