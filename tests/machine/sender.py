"""Sender: four browsers of a kind; each event comes on a connection of its own, and none is sent again.

Run with an address and the certificate to believe, until standard input ends; prints how many events were taken, and
how often what else happened.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import sys
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection

HOST = "collect.example.com"
SITES = ("shop.example.com", "shop.example.com", "blog.example.com", "example.org")  # the first has half of all
SENDERS = 4
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
}
PAUSE_SECONDS = 0.1  # all of them have one address, which may send 50 requests a second


def send(address: str, context: ssl.SSLContext) -> str:
    """Send one event; what became of it."""
    event = {"eventType": "click", "siteId": random.choice(SITES), "eventId": uuid.uuid4().hex}
    connection = HTTPSConnection(HOST, context=context)
    try:
        with socket.create_connection((address, 443), timeout=30) as plain:
            connection.sock = context.wrap_socket(plain, server_hostname=HOST)
            connection.request("POST", "/collect", json.dumps(event), HEADERS)
            return HTTPStatus(connection.getresponse().status).name
    except (OSError, HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def main(address: str, certificate: str) -> None:
    """Send one event at least with each browser, and count."""
    context = ssl.create_default_context(cafile=certificate)
    ended = threading.Event()
    counts: Counter[str] = Counter()

    def browse() -> None:
        counts[send(address, context)] += 1
        while not ended.wait(PAUSE_SECONDS):
            counts[send(address, context)] += 1

    with ThreadPoolExecutor(SENDERS) as executor:
        browsers = [executor.submit(browse) for _ in range(SENDERS)]
        sys.stdin.read()
        ended.set()
        [browser.result() for browser in browsers]
    print(json.dumps([counts.pop("OK", 0), counts]))  # noqa: T201 - who started it reads that


if __name__ == "__main__":
    main(*sys.argv[1:])
