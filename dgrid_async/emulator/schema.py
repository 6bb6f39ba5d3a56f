"""A value that fits a JSON schema, the same one every time.

It reads the plain keywords (type, enum, const, default, properties, items, anyOf, $ref, bounds) in JSON Schema's and in
Google's spelling; it validates nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["example"]

_MAX_DEPTH = 16
"""A recursive schema ends here; deeper than any that people write by hand."""

_OPTIONAL_DEPTH = 6

_FORMATS: Mapping[str, str] = {
    "date": "2025-01-31",
    "date-time": "2025-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Mapping[str, Any], name: str = "value") -> Any:
    """Return a value that fits the schema; text is the name of its property.

    Args:
        schema: A JSON schema, or Google's dialect of it (`OBJECT` for `object`).
        name: What text without further rules says.
    """
    return _example(schema, name, schema, 0)


def _example(schema: Any, name: str, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _example(_resolve(reference, root), name, root, depth + 1)
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    if schema.get("enum"):
        return schema["enum"][0]
    for keyword in ("anyOf", "oneOf", "allOf", "any_of"):
        if schema.get(keyword):
            return _example(schema[keyword][0], name, root, depth + 1)
    return _of_type(schema, name, root, depth)


def _of_type(schema: Mapping[str, Any], name: str, root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    kind = str(kind).lower()
    if kind == "object":
        properties = schema.get("properties") or {}
        # Optional properties are left out where `required` names others, and deep down, where a schema that refers to
        # itself would make the value grow without end.
        names = schema.get("required") or (list(properties) if depth < _OPTIONAL_DEPTH else [])
        return {key: _example(properties.get(key), key, root, depth + 1) for key in names}
    if kind == "array":
        items = schema.get("items")
        count = int(schema.get("minItems") or 1) if items else 0
        return [_example(items, name, root, depth + 1) for _ in range(count)]
    least = schema.get("minimum")
    plain = {
        "integer": 1 if least is None else int(least),
        "number": 1.5 if least is None else least,
        "boolean": True,
        "null": None,
    }
    return plain.get(kind, _FORMATS.get(str(schema.get("format")), name))


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    node: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if not step:
            continue
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return node
