"""Values made from JSON schemas."""

from __future__ import annotations

from typing import Any

import pytest

from dgrid_async.emulator.schema import example


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "value"),
        ({"type": "string", "format": "date"}, "2025-01-31"),
        ({"type": "string", "enum": ["kelvin", "celsius"]}, "kelvin"),
        ({"const": 5}, 5),
        ({"type": "integer", "default": 9}, 9),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": ["number", "null"]}, 1.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array"}, []),
        ({"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}, {"city": "city"}),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 1}),
        ({"$ref": "#/$defs/x~1y", "$defs": {"x/y": {"type": "integer"}}}, 1),
        ({"$ref": "#/$defs/missing"}, None),
    ],
)
def test_example(schema: dict[str, Any], value: Any) -> None:
    assert example(schema) == value


def test_a_recursive_schema_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}, "twin": {"$ref": "#"}}, "required": ["next"]}
    value = example(node)
    depth = 0
    while isinstance(value, dict):
        value, depth = value["next"], depth + 1
    assert value is None
    assert depth < 20


def test_a_bushy_schema_stays_small() -> None:
    bush = {"type": "object", "properties": {f"p{number}": {"$ref": "#"} for number in range(8)}}
    assert len(str(example(bush))) < 50_000
