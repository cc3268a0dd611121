"""Signature: a message in, the three headers of Standard Webhooks 1.0.0 out. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable


def headers(message_id: str, timestamp: int, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """The id, the time of this attempt (seconds since 1970), and a signature with each key.

    A receiver accepts a message when one of the signatures is right, so that keys can be replaced one after the other.
    """
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    signed = [base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signed),
    }
