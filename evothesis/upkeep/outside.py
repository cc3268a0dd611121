"""Outside: the address that browsers are given in, findings on whether it leads here out."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from evothesis.config import Config
from evothesis.upkeep.finding import Finding, act, note, ok

ANSWER_SECONDS_MAX = 5
LEFT_MIN = 0.1  # of a certificate's life, be it hours or months; proxies renew it when a third is left
DAY_SECONDS = 86_400


def outside(config: Config) -> Iterator[Finding]:
    """Ask as a browser asks: by name, through the proxy, with its certificate checked."""
    url = config.server.public_url
    if not url:
        yield note("outside", "nobody says where browsers reach this machine", "set server.public_url")
        return
    parts = urlsplit(url)
    host, is_https = str(parts.hostname), parts.scheme == "https"
    port = parts.port or (443 if is_https else 80)
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        yield act("outside", f"{host} has no address: {error.strerror}", "let its DNS records name this machine")
        return
    if not any(ipaddress.ip_address(address).is_global for address in addresses):
        found = f"{host} leads to {', '.join(sorted(addresses))}, which is not of the internet"
        yield note("outside", found, "let its DNS records name this machine's public address")
    if is_https:
        secure = HTTPSConnection(host, port, timeout=ANSWER_SECONDS_MAX, context=ssl.create_default_context())
        yield from _asked(url, secure)
    else:
        yield from _asked(url, HTTPConnection(host, port, timeout=ANSWER_SECONDS_MAX))


def _asked(url: str, connection: HTTPConnection) -> Iterator[Finding]:
    with closing(connection):
        try:
            connection.connect()
            if isinstance(connection.sock, ssl.SSLSocket):
                yield certificate(connection.sock.getpeercert() or {}, time.time())
            connection.request("GET", "/health")
            response = connection.getresponse()
            takes_events = response.status == HTTPStatus.OK and "spool" in json.loads(response.read())
        except ssl.SSLCertVerificationError as error:
            yield act("outside", f"browsers do not believe {url}: {error.verify_message}", "see the log of the proxy")
        except (OSError, HTTPException, ValueError) as error:
            # some networks do not let a machine reach its own public address
            todo = f"open the port to this machine; or ask from elsewhere: curl {url}/health"
            yield act("outside", f"{url} does not answer: {error}", todo)
        else:
            if takes_events:
                yield ok("outside", f"{url} leads here")
            else:
                found = f"{url} answers {response.status}, and not as this collector does"
                yield act("outside", found, "see the configuration of the proxy")


def certificate(said: Mapping[str, object], now: float) -> Finding:
    """How long a certificate is still good, as ssl.SSLSocket.getpeercert() says it."""
    begins, ends = (ssl.cert_time_to_seconds(str(said[name])) for name in ("notBefore", "notAfter"))
    found = f"of the proxy; good for {(ends - now) / DAY_SECONDS:,.1f} days"
    if ends - now < LEFT_MIN * (ends - begins):
        return act("certificate", found, "see why the proxy does not renew it")
    return ok("certificate", found)
