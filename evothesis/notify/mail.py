"""Mail: messages in, one e-mail with all of them, what came of it out."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from uuid import uuid5

from evothesis.config import Notify
from evothesis.notify.queue import NAMESPACE, Message
from evothesis.notify.schedule import Attempt
from evothesis.notify.text import letter, subject

TIMEOUT_SECONDS = 20
TRANSIENT = range(400, 500)  # RFC 5321, 4.2.1


def compose(settings: Notify, instance: str, messages: Sequence[Message], now: datetime) -> EmailMessage:
    """A mail that tells of messages; sent again it has the same Message-ID, by which mail programs recognise it."""
    mail = EmailMessage()
    mail["From"] = settings.email_from
    mail["To"] = ", ".join(settings.email_to)
    mail["Subject"] = f"{instance}: {subject(messages)}"
    mail["Date"] = format_datetime(now)
    identity = uuid5(NAMESPACE, " ".join(message.message_id for message in messages))
    mail["Message-ID"] = f"<{identity}@{settings.email_from.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer of an absent person is wanted
    mail.set_content(letter(messages), cte="quoted-printable")
    return mail


def send(settings: Notify, mail: EmailMessage) -> Attempt:
    """Hand a mail to the configured server."""
    try:
        with _connected(settings) as server:
            refused = server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        return _refused(next(iter(error.recipients.values()))[0], "all recipients were refused")
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error.decode("ascii", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return _refused(error.smtp_code, f"{settings.smtp_host} answered {error.smtp_code} {said}")
    except ssl.SSLError as error:
        hint = "correct notify.smtp_security, or trust who signed the certificate of notify.smtp_host"
        return Attempt(error=f"{settings.smtp_host}: {error}", hint=hint)
    except smtplib.SMTPNotSupportedError as error:
        return Attempt(error=f"{settings.smtp_host}: {error}", hint="correct notify.smtp_security")
    except (OSError, smtplib.SMTPException) as error:
        return Attempt(error=f"{settings.smtp_host} cannot be reached: {error}", is_passing=True)
    taken = len(settings.email_to) - len(refused)
    return Attempt(answer=f"taken for {taken} of {len(settings.email_to)} recipients")


def _refused(code: int, error: str) -> Attempt:
    return Attempt(error=error, hint="correct [notify] email_to, email_from or smtp_…", is_passing=code in TRANSIENT)


def _connected(settings: Notify) -> smtplib.SMTP:
    """A session that is encrypted as configured, and logged in where there is a user."""
    context = ssl.create_default_context()
    place = (settings.smtp_host, settings.smtp_port)
    if settings.smtp_security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(*place, timeout=TIMEOUT_SECONDS, context=context)
    else:
        server = smtplib.SMTP(*place, timeout=TIMEOUT_SECONDS)
    try:
        if settings.smtp_security == "starttls":
            server.starttls(context=context)
        if settings.smtp_user:
            server.login(settings.smtp_user, settings.smtp_password)
    except BaseException:
        server.close()
        raise
    return server
