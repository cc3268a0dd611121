"""Proxy: a way to PostgreSQL over TCP that ends where a test wants it to: on the wire, not in the code under test."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

BEFORE, AFTER = "before", "after"
CHUNK_BYTES = 2**16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) sends RST, as a machine does that does not know the connection

Which = Callable[[int, bytes], str]


class Proxy:
    """Listens on 127.0.0.1 for what is meant for the server behind `dsn`, which listens on a socket in the file system.

    A client's words are counted, over all of its connections: a word is what it says before it waits for an answer.
    """

    def __init__(self, dsn: str) -> None:
        """Forward everything."""
        self._server = Path(str(conninfo_to_dict(dsn)["host"])) / ".s.PGSQL.5432"
        self._lock = threading.Lock()
        self._which: Which = lambda _number, _word: ""
        self._number = 0
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable")
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self, which: Which) -> None:
        """Cut where `which` says BEFORE or AFTER of a word, of which it is told the number and the bytes.

        Before: the server never hears it. After: the server hears it, acts, and nobody hears the answer.
        """
        with self._lock:
            self._which, self._number, self.cuts = which, 0, 0

    def close(self) -> None:
        """End; the clients have ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._server))
            except OSError:  # nobody is there
                _reset(client)
                continue
            is_cut = threading.Event()
            answering = threading.Thread(target=self._to_client, args=(client, server, is_cut))
            asking = threading.Thread(target=self._to_server, args=(client, server, is_cut))
            self._threads += [answering, asking]
            answering.start()
            asking.start()

    def _to_server(self, client: socket.socket, server: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while word := client.recv(CHUNK_BYTES):
                place = self._place(word)
                if place:
                    is_cut.set()
                if place != BEFORE:
                    server.sendall(word)
                if place:
                    break
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)  # it acts on what it has heard, and ends

    def _place(self, word: bytes) -> str:
        with self._lock:
            place = self._which(self._number, word)
            self._number += 1
            self.cuts += bool(place)
            return place

    def _to_client(self, client: socket.socket, server: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while answer := server.recv(CHUNK_BYTES):
                if not is_cut.is_set():
                    client.sendall(answer)
        server.close()
        _reset(client)


def _reset(client: socket.socket) -> None:
    with suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.shutdown(socket.SHUT_RD)  # wakes who reads from it
    client.close()
