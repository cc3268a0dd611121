"""OpenAPI: the description is sound, and the API does what it says, whatever is asked."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from evothesis.admin.openapi import document
from evothesis.admin.routes import ROUTES
from tests.admin.desk import document as asked
from tests.appliance import Appliance

EXAMPLES, EXAMPLES_LONG = 8, 300
CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
WAYS = [(route.method, route.path) for route in ROUTES]


def test_sound() -> None:
    """The document is OpenAPI 3.1."""
    validate(document(ROUTES))


def test_served(served: Appliance) -> None:
    """The document that is served names every route."""
    paths = asked(served, "/openapi.json")["paths"]

    assert {(route.method.lower(), route.path) for route in ROUTES} == {
        (method, path) for path, methods in paths.items() for method in methods
    }


def _ask(served: Appliance, way: tuple[str, str], examples: int) -> None:
    schema = schemathesis.openapi.from_dict(document(ROUTES))
    operation = schema[way[1]][way[0]]
    modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if operation.definition.raw["parameters"] else [])]
    requests = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    @given(data=st.data())
    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=examples == EXAMPLES,
    )
    def ask(data: st.DataObject) -> None:
        case = data.draw(requests)
        response = case.call(base_url=served.admin_url, headers=served.admin_headers)
        case.validate_response(response, checks=CHECKS)
        assert 503 != response.status_code, response.text  # which the document allows, but nothing is away

    ask()


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_conforms(served: Appliance, way: tuple[str, str]) -> None:
    """Answers to right and wrong requests have a status, a type and a shape that the document names."""
    _ask(served, way, EXAMPLES)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_conforms_long(served: Appliance, way: tuple[str, str]) -> None:
    """The same, of many more requests."""
    _ask(served, way, EXAMPLES_LONG)
