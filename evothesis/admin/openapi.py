"""OpenAPI: the routes in, their description for programs out (OpenAPI 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from evothesis import __version__
from evothesis.admin.route import Route

REFERENCE = "#/components/schemas/{name}"
FAULTS = {
    400: "A parameter is wrong.",
    401: "No token, or one that is not known, was revoked or has expired.",
    403: "The token has not the scope.",
    409: "It runs already.",
    429: "Too many wrong tokens came from this address.",
    503: "The database, or what else it takes, is not there; try again.",
}
OF_TOKENS = (401, 403, 429)


class Fault(msgspec.Struct):
    """What went wrong: `code` for programs, `message` for people."""

    code: str
    message: str


class Failure(msgspec.Struct):
    """Every answer that is not what was asked for."""

    error: Fault


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document."""
    known = list(routes)
    kinds = [Failure, *(route.answer for route in known)]
    (failure, *answers), components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route, schema in zip(known, answers, strict=True):
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema, failure)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Evothesis, the operator's API", "version": __version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route, schema: Any, failure: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON schemas
    success = {"description": "What was asked for.", "content": {route.content_type: {"schema": schema}}}
    responses: dict[str, Any] = {}
    for code, text in FAULTS.items():
        if route.scope or code not in OF_TOKENS:
            responses[str(code)] = {"description": text, "content": {"application/json": {"schema": failure}}}
    responses |= {str(status): success for status in route.statuses}
    return {
        "operationId": f"{route.method.lower()}{route.path.replace('/', '_').replace('.', '_')}",
        "summary": route.summary,
        "description": f"Scope: {route.scope or 'none, for anybody'}.",
        "security": [{"token": []}] if route.scope else [],
        "parameters": _parameters(route),
        "responses": responses,
    }


def _parameters(route: Route) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([route.query])
    properties: dict[str, dict[str, Any]] = components[route.query.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _given(schema)}
        for name, schema in properties.items()
    ]


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that is there: null is one that is not."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    return choices[0] if choices else schema
