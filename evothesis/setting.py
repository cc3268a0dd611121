"""Setting: what the tables of the configuration are made of, and how a secret is kept out of sight."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SECRETS = frozenset({"token", "secret_access_key", "webhook_secret", "smtp_password"})
MASK = "…"

Port = Annotated[int, Meta(ge=1, le=65535)]
NonNegative = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
HttpPath = Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._~/-]+$")]
FieldName = Annotated[str, Meta(pattern=r"^[\w.-]*[^\W_][\w.-]*$")]
# as browsers say it: in small letters, without the port that its scheme has anyway
_HOST = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*"
Origin = Annotated[
    str,
    Meta(pattern=rf"^(?!http:.*:80$)(?!https:.*:443$)https?://((\*\.)?{_HOST}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?$"),
]
PublicUrl = Annotated[str, Meta(pattern=rf"^(https?://({_HOST}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?)?\Z")]  # one, or none
SiteName = Annotated[str, Meta(pattern=rf"^(\*\.{_HOST}|[^*]+)$", max_length=100)]
DESTINATION_URL = re.compile(r"^(file:.+|s3://[^/]+(/.*)?)$")
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
ColumnName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
_MAILBOX = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+"
MailAddress = Annotated[str, Meta(pattern=rf"^{_MAILBOX}\Z")]
MaybeMailAddress = Annotated[str, Meta(pattern=rf"^({_MAILBOX})?\Z")]  # one, or none
Kind = Literal[
    "usage.daily",
    "usage.threshold",
    "usage.spike",
    "usage.silence",
    "site.discovered",
    "invoice.closed",
    "export.late",
    "export.failed",
]


def masked(name: str, value: object) -> object:
    """A setting's value as it may be shown: a secret is masked, and the password in a URL or a connection string."""
    if name in SECRETS and value:
        return MASK
    if name == "url" and isinstance(value, str):
        return re.sub(r"(://[^:/@]*:)[^@]*@|(password\s*=\s*)('[^']*'|\S+)", rf"\1\2{MASK}@", value)
    return value


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the configuration file; a key that it does not name is an error."""

    def __repr__(self) -> str:
        """Without secrets, so that a log line or a traceback cannot tell them."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return (
            f"{type(self).__name__}({', '.join(f'{name}={masked(name, value)!r}' for name, value in fields.items())})"
        )


def signing_keys(text: str) -> tuple[bytes, ...]:
    """The keys in `whsec_…` secrets with blanks between them, as Standard Webhooks write them. Raises ValueError."""
    keys = []
    for secret in text.split():
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            key = b""
        if not (secret.startswith("whsec_") and 24 <= len(key) <= 64):  # noqa: PLR2004 - of the specification
            message = "webhook_secret: each must be whsec_ and 24 to 64 random bytes in base64"
            raise ValueError(message)
        keys.append(key)
    return tuple(keys)
