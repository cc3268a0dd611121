"""Mail: a real SMTP server takes it, encrypted; a person can read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from evothesis.config import Notify
from evothesis.notify import mail
from evothesis.notify.queue import Message
from evothesis.notify.schedule import Attempt
from tests import processes
from tests.notify.conftest import Certificate

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
DISCOVERED = ("site.discovered", {"site_id": "shop.example.com", "first_received_at": "2026-11-25T08:59:58Z"})
SILENCE = ("usage.silence", {"day": "2026-11-24", "sites": [{"site_id": "a", "usual_events": 1234}], "sites_total": 1})


def messages(*told: tuple[str, dict[str, Any]]) -> list[Message]:
    """Messages of these kinds with these data."""
    return [
        Message(number, "email", 0, kind, "", f"id-{number}", json.dumps({"type": kind, "data": data}))
        for number, (kind, data) in enumerate(told)
    ]


class Mailbox:
    """What the server was given, and what it answers to each recipient."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answers: dict[str, str] = {}
        self.logged_in: list[bytes] = []

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: object, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address not in self.answers:
            envelope.rcpt_tos.append(address)
        return self.answers.get(address, "250 OK")

    async def handle_DATA(self, _server: object, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - the library's name
        """Take a mail."""
        assert isinstance(envelope.content, bytes)
        self.mails.append(
            BytesParser(EmailMessage, policy=default).parsebytes(envelope.content.replace(b"\r\n", b"\n"))
        )
        return "250 OK"

    def log_in(self, _server: object, _session: object, _envelope: object, _mechanism: str, data: Any) -> AuthResult:  # noqa: ANN401 - the library's name for what was sent
        """Let in who knows the password."""
        assert isinstance(data, LoginPassword)
        self.logged_in.append(data.login)
        return AuthResult(success=data.password == b"secret", handled=False)


@contextmanager
def mailbox(**options: Any) -> Iterator[tuple[Mailbox, Notify]]:  # noqa: ANN401 - the library's options
    """A server, and the settings that lead to it."""
    box = Mailbox()
    port = processes.free_ports(1)[0]
    controller = Controller(box, hostname="127.0.0.1", port=port, authenticator=box.log_in, **options)
    controller.start()
    try:
        yield (
            box,
            Notify(
                email_to=("a@example.com", "b@example.com"),
                email_from="evothesis@example.com",
                smtp_host="127.0.0.1",
                smtp_port=port,
                smtp_security="none",
            ),
        )
    finally:
        controller.stop()


def send(settings: Notify, *told: tuple[str, dict[str, Any]]) -> Attempt:
    """Send what happened."""
    return mail.send(settings, mail.compose(settings, "acme", messages(*told or [DISCOVERED]), NOW))


def test_one_message() -> None:
    """A mail says in its subject what happened, and in its text what to know and to do."""
    with mailbox() as (box, settings):
        attempt = send(settings, DISCOVERED)

    assert Attempt(answer="taken for 2 of 2 recipients") == attempt
    assert "acme: first event of shop.example.com" == box.mails[0]["Subject"]
    assert ("evothesis@example.com", "a@example.com, b@example.com") == (box.mails[0]["From"], box.mails[0]["To"])
    assert "text/plain" == box.mails[0].get_content_type()
    assert (
        "First event of shop.example.com\n"
        "\n"
        "  site id            shop.example.com\n"
        "  first received at  2026-11-25T08:59:58Z\n"
        "\n"
        "If it is none of yours, name yours in [limits] sites.\n"
    ) == box.mails[0].get_content()


def test_several_messages() -> None:
    """All that is new is one mail, in its order; numbers are easy to read."""
    with mailbox() as (box, settings):
        send(settings, SILENCE, DISCOVERED)

    text = box.mails[0].get_content()
    assert "acme: 1 sites sent nothing on 2026-11-24, and 1 more" == box.mails[0]["Subject"]
    assert text.index("1 sites sent nothing") < text.index("First event of shop.example.com")
    assert "    a  1,234\n" in text


def test_hostile_name() -> None:
    """A site whose name a stranger chose can neither add a header nor a line."""
    with mailbox() as (box, settings):
        send(settings, ("site.discovered", {"site_id": "a\r\nBcc: x@example.com\x1b[2J", "first_received_at": ""}))

    assert r"acme: first event of a\r\nBcc: x@example.com\x1b[2J" == box.mails[0]["Subject"]
    assert box.mails[0]["Bcc"] is None
    assert "\nBcc" not in box.mails[0].get_content()


def test_same_message_id() -> None:
    """The same messages, sent again, are the same mail to a mail program; others are another one."""
    settings = Notify(email_to=("a@example.com",), email_from="e@example.com", smtp_host="x")
    first, again, other = (
        mail.compose(settings, "acme", messages(*told), NOW)["Message-ID"]
        for told in ([DISCOVERED], [DISCOVERED], [DISCOVERED, SILENCE])
    )

    assert first == again != other
    assert first.endswith("@example.com>")


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_encrypted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch, security: str) -> None:
    """The mail and the password go over an encrypted connection to a server whose certificate is trusted."""
    options: dict[str, Any] = {"ssl_context": certificate.context}
    if security == "starttls":
        options = {"tls_context": certificate.context, "require_starttls": True, "auth_required": True}
    with mailbox(**options, auth_require_tls=security == "starttls") as (box, settings):
        secure = msgspec.structs.replace(
            settings, smtp_host="localhost", smtp_security=security, smtp_user="user", smtp_password="secret"
        )
        refused = send(secure)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        wrong = send(msgspec.structs.replace(secure, smtp_password="wrong"))
        accepted = send(secure)

    assert ("certificate" in str(refused.error), False) == (True, refused.is_passing)
    assert ("localhost answered 535" in str(wrong.error), False) == (True, wrong.is_passing)
    assert (None, 1, {b"user"}) == (accepted.error, len(box.mails), set(box.logged_in))


@pytest.mark.parametrize(
    ("answers", "error", "is_passing"),
    [
        ({"a@example.com": "550 no"}, None, False),
        (dict.fromkeys(["a@example.com", "b@example.com"], "550 no"), "all recipients were refused", False),
        (dict.fromkeys(["a@example.com", "b@example.com"], "450 later"), "all recipients were refused", True),
    ],
    ids=["one", "all", "all for now"],
)
def test_recipients(answers: dict[str, str], error: str | None, is_passing: bool) -> None:  # noqa: FBT001 - an expectation
    """A mail is sent when somebody gets it; nobody's address stands in an error."""
    with mailbox() as (box, settings):
        box.answers = answers
        attempt = send(settings)

    assert (error, is_passing) == (attempt.error, attempt.is_passing)
    assert (2 - len(answers) > 0) == bool(box.mails)
    if error is None:
        assert "taken for 1 of 2 recipients" == attempt.answer


def test_no_encryption() -> None:
    """A server that cannot encrypt gets nothing when it was to."""
    with mailbox() as (box, settings):
        attempt = send(msgspec.structs.replace(settings, smtp_security="starttls"))

    assert ("correct notify.smtp_security", False, []) == (attempt.hint, attempt.is_passing, box.mails)


def test_nobody_there() -> None:
    """A server that is away passes."""
    with mailbox() as (_, settings):
        pass

    attempt = send(settings)

    assert (True, True) == (str(attempt.error).startswith("127.0.0.1 cannot be reached: "), attempt.is_passing)
