"""Stranger: aiohttp's protocol for all that is not plain. Where that has words of its own, it says the contract's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import http_parser, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from evothesis.collector.decode import EnvelopeError
from evothesis.collector.reception import Failure, failure
from evothesis.errors import EvothesisError

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 417: "expectation_unknown"}
_VERSIONS = ((1, 0), (1, 1))


def check_parser() -> None:
    """Raises EvothesisError when aiohttp parses in Python, which disagrees with others on where a request ends."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        message = "aiohttp runs without its parser in C"
        raise EvothesisError(message, hint="unset AIOHTTP_NO_EXTENSIONS, or install aiohttp from a wheel")


def not_http() -> EnvelopeError:
    """What is said of bytes that are no request; nothing of them is repeated."""
    return EnvelopeError(400, "http_invalid", "this is not HTTP/1.1, or its head is too large")


class Refusal(web.Response):
    """An answer other than 200."""

    def __init__(self, failed: Failure) -> None:
        """In the contract's form."""
        headers = {**failed.headers, "X-Content-Type-Options": "nosniff"}
        super().__init__(status=failed.status, body=failed.body, content_type="application/json", headers=headers)

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)  # where no route was found nobody else is asked for the headers


class Stranger(RequestHandler):
    """One connection, as aiohttp sees it."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed; called by aiohttp, whose own answer repeats it."""
        del status, message
        if request.writer.output_size > 0:
            raise ConnectionError
        return _closing(not_http() if exc is None or isinstance(exc, HttpProcessingError) else exc)

    @property
    def is_busy(self) -> bool:
        """Whether it has requests in hand."""
        return self._waiter is None or self._waiter.done()  # what aiohttp itself goes by when it closes idle ones

    @property
    def is_satisfied(self) -> bool:
        """Whether it wants no bytes now. It stops reading once, and does not look whether somebody begins again."""
        return self._buffer_paused or self._reading_paused

    def fail(self, error: EnvelopeError) -> None:
        """Let the request whose body is missing be answered with this error."""
        request = self._current_request
        if request and not request.content.is_eof():
            request.content.set_exception(error)

    def forget(self) -> None:
        """Be gone, and leave the connection open."""
        self.transport = None
        self.connection_lost(None)


def guarded(handle: Handler) -> Handler:
    """An application's handler, whose every error is an answer of the contract, and which closes what is in doubt."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = await _answered(handle, request)
        # the rest of a body is not read; and where an upgrade was asked for, parsers differ in what follows
        if not request.content.is_eof() or "Upgrade" in request.headers or request.method == "CONNECT":
            response.force_close()
        return response

    return answer


async def _answered(handle: Handler, request: web.BaseRequest) -> web.StreamResponse:
    try:
        if not _is_framed_plainly(request):
            return _closing(not_http())
        return await handle(request)
    except web.HTTPException as error:
        refusal = Refusal(Failure(error.status, _CODES.get(error.status, "refused"), error.reason))
        if allow := error.headers.get("Allow"):
            refusal.headers["Allow"] = allow
        return refusal
    except (ConnectionError, web.RequestPayloadError):
        return Refusal(Failure(400, "body_incomplete", "the body ended too early"))
    except Exception as error:  # noqa: BLE001 - whatever it is, no sender is told more than that it failed
        return Refusal(failure(error))


def _is_framed_plainly(request: web.BaseRequest) -> bool:
    """Whether no other server could understand something else where this request ends."""
    codings = [coding.lower() for coding in request.headers.getall("Transfer-Encoding", [])]
    return request.version in _VERSIONS and (
        not codings or (codings == ["chunked"] and request.version == _VERSIONS[1])
    )


def _closing(error: BaseException) -> Refusal:
    refusal = Refusal(failure(error))
    refusal.force_close()
    return refusal
