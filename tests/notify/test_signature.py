"""Signature: what the specification's own libraries sign is signed the same here."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from evothesis.config import Notify
from evothesis.notify.signature import headers

# the vector in the tests of the specification's libraries, whichever language they are written in
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

OTHER = "whsec_" + "QUJD" * 12


def keys(secret: str) -> tuple[bytes, ...]:
    """The keys that a setting names."""
    return Notify(webhook_secret=secret).webhook_keys


def test_vector() -> None:
    """The published vector has the published signature."""
    expected = {"webhook-id": MESSAGE_ID, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": SIGNATURE}

    assert expected == headers(MESSAGE_ID, TIMESTAMP, BODY, keys(SECRET))


def test_rotation() -> None:
    """With two secrets there are two signatures, in their order, with a space between."""
    signed = headers(MESSAGE_ID, TIMESTAMP, BODY, keys(f"{OTHER}\n{SECRET}"))

    assert [keys(OTHER)[0], keys(SECRET)[0]] == list(keys(f"{OTHER} {SECRET}"))
    assert SIGNATURE == signed["webhook-signature"].split(" ")[1]
    assert 2 == len(set(signed["webhook-signature"].split(" ")))


@pytest.mark.parametrize("body", [b"{}", "{“ü”: 1}".encode(), b"a" * 100_000], ids=["small", "unicode", "large"])
def test_library(body: bytes) -> None:
    """The library of the specification signs the same."""
    signed = headers("3f1c1f0e", TIMESTAMP, body, keys(OTHER))
    expected = Webhook(OTHER).sign("3f1c1f0e", datetime.fromtimestamp(TIMESTAMP, UTC), body.decode())

    assert expected == signed["webhook-signature"]


@pytest.mark.parametrize(
    "secret",
    ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_QUJD", "whsec_" + "QUJD" * 22, "whsec_MfKQ9r8GKYqrTwjU!!!!"],
    ids=["no prefix", "empty", "short", "long", "not base64"],
)
def test_no_secret(secret: str) -> None:
    """What is no secret by the specification is refused, and not repeated."""
    with pytest.raises(ValueError, match=r"^webhook_secret: each must be") as caught:
        keys(f"{OTHER} {secret}")

    assert secret == "whsec_" or secret not in str(caught.value)
