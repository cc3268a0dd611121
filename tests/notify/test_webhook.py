"""Webhook: a real receiver accepts what is sent; nobody else is spoken to, and nobody's answer can do harm."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from aiohttp import web

from evothesis.config import Config, Notify
from evothesis.notify import webhook
from evothesis.notify.schedule import Attempt
from evothesis.notify.signature import headers
from tests.notify.conftest import Certificate
from tests.notify.receiver import SECRET, Receiver, receiving

BODY = b'{"type":"test"}'
OTHER_SECRET = "whsec_" + "REVG" * 12


def post(config: Config, **settings: object) -> Attempt:
    """Send a message, with other settings."""
    return webhook.post(msgspec.structs.replace(config.notify, **settings), "an-id", BODY)


def status(receiver: Receiver, signed: dict[str, str], body: bytes) -> int:
    """What the receiver answers to somebody else's request."""
    asked = urllib.request.Request(receiver.url, body, signed)  # noqa: S310 - the receiver's, on loopback
    try:
        with urllib.request.urlopen(asked) as response:  # noqa: S310 - as above
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that says whatever it likes to one client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, suppress(OSError):
                client.recv(65_536)
                speak(client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


def test_accepted(receiver: Receiver, config: Config) -> None:
    """The receiver verifies a message and has it byte for byte."""
    attempt = post(config)

    assert Attempt(answer="204") == attempt
    assert [("an-id", BODY, "application/json")] == [
        (received.message_id, received.body, received.headers["Content-Type"]) for received in receiver.received
    ]


@pytest.mark.parametrize("secrets", [f"{OTHER_SECRET} {SECRET}", f"{SECRET} {OTHER_SECRET}"])
def test_rotation(receiver: Receiver, config: Config, secrets: str) -> None:
    """While one secret replaces another, receivers accept with either."""
    for secret in (SECRET, OTHER_SECRET):
        receiver.secret = secret
        assert post(config, webhook_secret=secrets).error is None


def test_wrong_secret(receiver: Receiver, config: Config) -> None:
    """A receiver with another secret refuses; a person is needed."""
    receiver.secret = OTHER_SECRET

    assert Attempt(error="the webhook answered 401") == post(config)
    assert ["No matching signature found"] == receiver.refused


def test_replayed_and_tampered(receiver: Receiver, config: Config) -> None:
    """The receiver refuses a message of six minutes ago, and one of which a byte is another."""
    keys, now = config.notify.webhook_keys, int(time.time())
    fresh = headers("an-id", now, BODY, keys)

    assert 204 == status(receiver, fresh, BODY)
    assert 401 == status(receiver, headers("an-id", now - 360, BODY, keys), BODY)
    assert 401 == status(receiver, fresh | {"webhook-timestamp": str(now - 1)}, BODY)
    assert 401 == status(receiver, fresh | {"webhook-id": "another-id"}, BODY)
    assert 401 == status(receiver, fresh, BODY.replace(b"test", b"tset"))
    assert 1 == len(receiver.received)


def test_redirect(receiver: Receiver, config: Config) -> None:
    """A redirect is not followed; the hint says what to do."""
    with receiving() as elsewhere:
        receiver.answer = lambda _request: web.Response(status=307, headers={"Location": elsewhere.url})
        attempt = post(config)

    assert ("the webhook answered 307", 1, 0) == (attempt.error, receiver.asked, elsewhere.asked)
    assert attempt.hint is not None


@pytest.mark.parametrize(
    ("code", "retry_after", "expected"),
    [
        (200, "60", Attempt(answer="200")),
        (400, "", Attempt(error="the webhook answered 400")),
        (410, "", Attempt(error="the webhook answered 410", is_final=True)),
        (429, "120", Attempt(error="the webhook answered 429", is_passing=True, retry_after=timedelta(seconds=120))),
        (500, "soon", Attempt(error="the webhook answered 500")),
        (503, "-5", Attempt(error="the webhook answered 503", is_passing=True)),
        (
            504,
            "9" * 1_000,
            Attempt(error="the webhook answered 504", is_passing=True, retry_after=timedelta(10**8 / 86_400)),
        ),
    ],
    ids=["200", "400", "410", "429", "500", "503", "504"],
)
def test_answers(receiver: Receiver, config: Config, code: int, retry_after: str, expected: Attempt) -> None:
    """Only 2xx is success; a receiver that is busy may ask for time."""
    receiver.answer = lambda _request: web.Response(status=code, headers={"Retry-After": retry_after})

    assert expected == post(config)


def test_retry_after_a_date(receiver: Receiver, config: Config) -> None:
    """Retry-After may be a date."""
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    receiver.answer = lambda _request: web.Response(status=503, headers={"Retry-After": date})

    assert timedelta(minutes=59) < post(config).retry_after <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("host", "error"),
    [
        *((host, "not on the internet") for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1")),
        *((host, "no usable address") for host in ("2130706433", "127.1")),
    ],
)
def test_private(host: str, error: str) -> None:
    """However this machine is named, it is not connected to unless that is allowed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        url = f"https://{host}:{listener.getsockname()[1]}/hook"
        attempt = webhook.post(Notify(webhook_url=url, webhook_secret=SECRET), "an-id", BODY)
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert error in str(attempt.error)
    assert not attempt.is_passing


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        *(
            (address, False)
            for address in (
                *("0.0.0.1", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1"),
                *("192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
                *("::", "::1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::a00:1", "2002:a00:1::", "fc00::1", "fe80::1"),
                *("fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1"),
            )
        ),
    ],
)
def test_public(address: str, expected: bool) -> None:  # noqa: FBT001 - an expectation
    """Only an address of some other machine on the internet is public."""
    assert expected is webhook.is_public(address)


def test_endless_answer(config: Config) -> None:
    """Of an answer without an end only the head is read."""
    sent: list[int] = []

    def speak(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while sum(sent) < 10**9:
            sent.append(client.send(bytes(65_536)))

    with speaking(speak) as url:
        assert Attempt(answer="200") == post(config, webhook_url=url)
    assert sum(sent) < 50_000_000


def test_endless_head(config: Config) -> None:
    """A head without an end is not read to it."""

    def speak(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            client.send(b"X-Header: " + b"a" * 1_000 + b"\r\n")

    with speaking(speak) as url:
        assert post(config, webhook_url=url).error is not None


@pytest.mark.long
def test_slow_head(config: Config) -> None:
    """A receiver that says one letter now and then is left after twenty seconds."""

    def speak(client: socket.socket) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nX-Header: " + b"a" * 1_000:
            client.send(bytes([letter]))
            time.sleep(0.5)

    with speaking(speak) as url:
        assert Attempt(error="no answer within 20 s", is_passing=True) == post(config, webhook_url=url)


def test_nobody_there(config: Config) -> None:
    """A receiver that is away passes."""
    attempt = post(config, webhook_url="http://127.0.0.1:1/")

    assert (True, True) == ("127.0.0.1:1" in str(attempt.error), attempt.is_passing)


def test_certificate(config: Config, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for is refused; one that the machine trusts is not."""
    with receiving(certificate.context) as receiver:
        refused = post(config, webhook_url=receiver.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        accepted = post(config, webhook_url=receiver.url)

    assert ("certificate" in str(refused.error), False) == (True, refused.is_passing)
    assert Attempt(answer="204") == accepted
    assert 1 == len(receiver.received)
