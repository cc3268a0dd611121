"""Secrets: what opens a door, known by its shape."""

from __future__ import annotations

import base64
import re

from evothesis.collector.privacy.signs import REDACTED, compiled, replacing
from evothesis.collector.steps import Steps

# Shapes that the issuers publish, so that scanners can find them: prefix and length
_KEYS = (
    r"[rsp]k_(?:live|test)_[0-9A-Za-z]{10,}",  # Stripe
    r"whsec_[0-9A-Za-z+/=]{16,}",
    r"\b(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[A-Z2-7]{16}\b",  # AWS
    r"gh[oprsu]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{22,}",
    r"gl(?:pat|rt|dt|cbt|ptt|oas|soat)-[0-9A-Za-z_-]{20,}",  # GitLab
    r"xox[abeoprs](?:\.xox[bp])?-[0-9A-Za-z-]{10,}|xapp-\d-[0-9A-Za-z-]{10,}",  # Slack
    r"hooks\.slack\.com/services/[0-9A-Za-z/]{20,}",
    r"discord(?:app)?\.com/api/webhooks/\d+/[0-9A-Za-z_-]{30,}",
    r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,}",  # Google
    r"\bsk-(?:proj|ant|svcacct|admin|or)-[0-9A-Za-z_-]{20,}|\bsk-[0-9A-Za-z]{32,}",  # OpenAI, Anthropic
    r"\bSG\.[0-9A-Za-z_-]{16,32}\.[0-9A-Za-z_-]{16,64}",  # SendGrid
    r"\bkey-[0-9a-f]{32}\b|\b[0-9a-f]{32}-us[0-9]{1,2}\b",  # Mailgun, Mailchimp
    r"\bSK[0-9a-f]{32}\b",  # Twilio
    r"\bnpm_[0-9A-Za-z]{36}|\bpypi-[0-9A-Za-z_-]{40,}",
    r"\bdo[opr]_v1_[0-9a-f]{64}",  # DigitalOcean
    r"\bshp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}",  # Shopify
    r"\bsq0[a-z]{3}-[0-9A-Za-z_-]{22,}",  # Square
    r"\bEAA[0-9A-Za-z]{60,}",  # Meta
    r"\b[0-9]{8,10}:AA[0-9A-Za-z_-]{32,}",  # Telegram
    r"\bdapi[0-9a-f]{32}\b|\bhf_[0-9A-Za-z]{30,}|\blin_api_[0-9A-Za-z]{32,}|\bglsa_[0-9A-Za-z_]{32,}",
    r"\bATATT3[0-9A-Za-z_=-]{20,}|\bPMAK-[0-9a-f-]{40,}|\bNRAK-[0-9A-Z]{27}|\bhv[sb]\.[0-9A-Za-z_-]{24,}",
    r"\bsbp_[0-9a-f]{40}|\bntn_[0-9A-Za-z]{40,}|\bdckr_pat_[0-9A-Za-z_-]{20,}|AGE-SECRET-KEY-1[0-9A-Z]{40,}",
    r"\brk_[0-9A-Za-z]{32,}|\bxkeysib-[0-9a-f]{40,}|\bpat[0-9A-Za-z]+\.[0-9a-f]{40,}",  # Brevo, Airtable
)
_JWT = r"eyJ[0-9A-Za-z_-]{8,}\.{1,2}[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*"
_BEARER = r"(?i:bearer)[\s+]{1,3}[0-9A-Za-z._~+/=-]{16,}"
_BASIC = r"(?i:basic)[\s+]{1,3}[0-9A-Za-z+/]{8,}={0,2}"
# Up to its end, or to the end of the text where that was cut
_PRIVATE_KEY = compiled(r"-----BEGIN[A-Z ]* PRIVATE KEY(?: BLOCK)?-----(?:[^-]*-----END[A-Z ]*-----|(?:[^-]|-[^-])*-?)")
_SHAPES = compiled("|".join((*_KEYS, _JWT)))
_HEADER = compiled(rf"({_BEARER})|({_BASIC})")

# A few characters are enough to look closer; counts would make one large automaton of all rules' patterns
SIGHT = (
    r"[rsp]k_(?:live|test)_|whsec_|gh[oprsu]_|github_pat_|gl(?:pat|rt|dt|cbt|ptt|oas|soat)-|xox[a-z][-.]|xapp-[0-9]|"
    r"(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[A-Z2-7]{4}|hooks\.slack\.com|com/api/webhooks|com\\/api\\/webhooks|AIza|"
    r"ya29\.|GOCSPX-|\bsk-[0-9A-Za-z]|\bSG\.|\bkey-[0-9a-f]{4}|[0-9a-f]-us[0-9]|\bSK[0-9a-f]{4}|npm_|pypi-|"
    r"do[opr]_v1_|shp[a-z]{2}_|sq0[a-z]{3}-|\bEAA[0-9A-Za-z]{4}|[0-9]:AA|dapi[0-9a-f]{4}|hf_|lin_api_|glsa_|ATATT3|"
    r"PMAK-|NRAK-|hv[sb]\.|sbp_|ntn_|dckr_pat_|AGE-SECRET-KEY|\brk_|xkeysib-|\bpat[0-9A-Za-z]+\.|eyJ[0-9A-Za-z_-]{4}|"
    r"(?i:bearer|basic)(?:[ +]|%20|\\[nrt])|PRIVATE(?:[ +]|%20)KEY"
)


def cleaning(text: str) -> Steps[str]:
    """A text without keys, tokens and credentials."""
    if "PRIVATE KEY" in text:
        text = yield from replacing(_PRIVATE_KEY, REDACTED, text)
    text = yield from replacing(_SHAPES, REDACTED, text)
    return (yield from replacing(_HEADER, _without_credentials, text))


def _without_credentials(match: re.Match[str]) -> str:
    """A word of letters alone is no token, and only what decodes to a name and a password is basic."""
    text = match[0]
    is_secret = any(map(str.isdigit, text)) if match[1] else _is_pair(text[len("basic") :].strip(" \t\r\n+"))
    return REDACTED if is_secret else text


def _is_pair(text: str) -> bool:
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return False
