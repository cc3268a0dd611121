"""Message: the bytes of a connection in; where its requests begin and end, and whether one is plain, out. Pure."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from evothesis.collector.decode import LARGE_BYTES

HEAD_BYTES_MAX = 8_190  # a larger one is not plain
HEADERS_MAX = 128  # aiohttp refuses more
PIECES_MAX = 4_096  # of a body, by its chunks: each costs far more than its bytes

_PLAIN = frozenset({b"host", b"content-length"})
_NOT_PLAIN = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})


class Message:
    """What the parser said since `restart`. Names of headers are in lower case."""

    def __init__(self, path: bytes) -> None:
        """`path` is that of plain requests."""
        self._path = path
        self._parser = HttpRequestParser(self)
        self.is_lost = False  # whether nothing is known of what follows
        self.is_broken = False  # whether that is because the bytes made no sense
        self._pieces = 0
        self.restart()

    def restart(self) -> None:
        """Forget the requests until now; nothing of another one has arrived."""
        self.begun = self.completed = 0
        self.clear()

    def clear(self) -> None:
        """Forget what they said."""
        self._url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self._is_plain: bool | None = None
        self._head_bytes = 0

    def feed(self, data: bytes) -> None:
        """Go on with these bytes."""
        if not self.is_lost:
            self._head_bytes += len(data)
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade:
                self.is_lost = True
            except HttpParserError:
                self.is_lost = self.is_broken = True

    @property
    def is_under_way(self) -> bool:
        """Whether a request has begun and not ended."""
        return self.is_lost or self.begun > self.completed

    @property
    def is_flood(self) -> bool:
        """Whether a body came in so many pieces that nobody should look at the rest."""
        return self._pieces > PIECES_MAX

    def may_be_plain(self) -> bool:
        """Whether the one request since `restart` is a POST of events by the book, as far as it is known."""
        if self.is_lost or self.begun > 1:
            return False
        return self._head_bytes <= HEAD_BYTES_MAX if self._is_plain is None else self._is_plain

    def on_message_begin(self) -> None:
        """Be told by the parser; see httptools."""
        self.begun += 1
        self._pieces = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. The parser cuts blanks off before its value only."""
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """See what kind of request it is."""
        self._is_plain = (
            self._parser.get_method() == b"POST"
            and self._url == self._path
            and self._parser.get_http_version() == "1.1"
            and self._parser.should_keep_alive()
            and self._has_plain_headers()
        )

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; that of others is aiohttp's."""
        self._pieces += 1
        if self.is_flood:
            raise ValueError  # which ends the parser
        if self._is_plain:
            self.body += body

    def on_message_complete(self) -> None:
        """Count it."""
        self.completed += 1

    def _has_plain_headers(self) -> bool:
        """Whether they frame a body of known and bearable length, and ask for nothing else; none stands there twice."""
        said = dict(self.headers)
        return (
            len(said) == len(self.headers) <= HEADERS_MAX
            and said.keys() >= _PLAIN
            and int(said[b"content-length"]) <= LARGE_BYTES
            and said.keys().isdisjoint(_NOT_PLAIN)
            and sum(len(name) + len(value) for name, value in self.headers) <= HEAD_BYTES_MAX
        )
