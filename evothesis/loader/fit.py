"""Fit: what a segment says of its rows in, what the database can count and remember of them out. Pure.

Used when a load was refused: the columns of a row are tried one by one, but its key, its fingerprint and its site are
said beside them. A collector of ours writes none that does not fit.
"""

from __future__ import annotations

import logging
import re
from collections import Counter

from evothesis.event import Rejected, Row, rejected_row
from evothesis.loader.content import Content
from evothesis.loader.tally import SITE_UNKNOWN

log = logging.getLogger(__name__)

QUARANTINE_LENGTH_MAX = 4_096
SITE_LENGTH_MAX = 100
_KEY = re.compile(r"[0-9a-f]{32}")


def fitted(content: Content) -> Content:
    """The content with unfit rows among the refused ones, and unfit names of sites as unknown."""
    unfit = [
        (idx, quarantined(content, None, "its key, fingerprint, size or site cannot be stored", row.line))
        for idx, row in content.rows
        if not _fits(row)
    ]
    rejected = [(idx, line if _is_site(line.site_id) else Rejected(line.line, None)) for idx, line in content.rejected]
    withheld: Counter[str] = Counter()
    for site, events in content.withheld.items():
        withheld[site if _is_site(site) else SITE_UNKNOWN] += events
    return content._replace(
        rows=[(idx, row) for idx, row in content.rows if _fits(row)], rejected=rejected + unfit, withheld=withheld
    )


def quarantined(content: Content, site: str | None, reason: str, sent: bytes) -> Rejected:
    """A row that cannot be stored, for `rejected_events`, in characters that can."""
    log.error("Row quarantined.", extra={"reason": reason})
    return rejected_row(
        created_at=content.first.isoformat(),
        site_id=site,
        code="unstorable",
        message=printable(reason),
        event=printable(sent.decode("utf-8", "backslashreplace"))[:QUARANTINE_LENGTH_MAX],
    )


def printable(text: str) -> str:
    """A text in ASCII without NUL."""
    return text.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")


def _fits(row: Row) -> bool:
    is_counted = -(2**63) <= row.fingerprint < 2**63 and 0 <= row.size_bytes < 2**31
    return is_counted and _KEY.fullmatch(row.key) is not None and _is_site(row.site_id)


def _is_site(site: str | None) -> bool:
    return site is None or (len(site) <= SITE_LENGTH_MAX and "\0" not in site)
