"""Attribution: the address of a page in, the campaign that it was opened by out.

Parameters of campaigns are those of Google Analytics (https://support.google.com/analytics/answer/10917952). Of the ids
of a click only the kind is told: the value identifies a person to the network that gave it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote_plus

CAMPAIGN = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id")
CLICK_IDS = (
    *("gclid", "gbraid", "wbraid", "dclid"),  # Google: ads, ads to and from apps, Campaign Manager
    "fbclid",  # Meta
    "msclkid",  # Microsoft
    "ttclid",  # TikTok
    "twclid",  # X
    "li_fat_id",  # LinkedIn
    "rdt_cid",  # Reddit
    "sccid",  # Snapchat
    "epik",  # Pinterest
    "yclid",  # Yandex
    "qclid",  # Quora
    "tblci",  # Taboola
    "dicbo",  # Outbrain
    *("irclickid", "cjevent", "awc"),  # affiliates: impact.com, CJ, Awin
)
LENGTH_MAX = 250
# in the query, in the fragment, and behind an ampersand that was written for HTML; one look at each character
_PARAMETER = re.compile(rf"[?&#;]((?i:{'|'.join((*CAMPAIGN, *CLICK_IDS))}))=([^&#]+)")


class Attribution(NamedTuple):
    """The parameters of a campaign, and the kind of click id."""

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None
    utm_id: str | None = None
    click_id_type: str | None = None


NOTHING = Attribution()


def told(url: str, clean: Callable[[str], str | None]) -> Attribution:
    """What an address tells; of what it tells twice, the first. `clean` redacts a value once it is decoded."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(url):
        name = match[1].lower()
        if name in CLICK_IDS:
            found.setdefault("click_id_type", name)
        elif name not in found and (value := _value(match[2], clean)):
            found[name] = value
    return Attribution(**found) if found else NOTHING


def _value(encoded: str, clean: Callable[[str], str | None]) -> str:
    plain = unquote_plus(encoded).replace("\0", "\ufffd").strip()
    return (clean(plain) or "")[:LENGTH_MAX]  # cut last: half an e-mail address would not be found
