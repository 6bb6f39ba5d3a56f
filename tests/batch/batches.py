"""What the tests of batches share: inputs, and what is in outputs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from dgrid_async.emulator import Emulator


def line(number: int) -> dict[str, Any]:
    """Return the line of a number; the four endpoints in turn, and the number in what is asked."""
    text = f"question {number}"
    asked = [{"role": "user", "content": text}]
    url, body = (
        ("/v1/chat/completions", {"model": "m", "messages": asked}),
        ("/v1/messages", {"model": "m", "max_tokens": 50, "messages": asked}),
        ("/v1/responses", {"model": "m", "input": text}),
        ("/v1/models/g:generateContent", {"contents": [{"role": "user", "parts": [{"text": text}]}]}),
    )[number % 4]
    return {"custom_id": f"r{number}", "method": "POST", "url": url, "body": body}


def put(path: Path, count: int) -> Path:
    """Write an input of so many lines, numbered from 1."""
    path.write_text("".join(json.dumps(line(number)) + "\n" for number in range(1, count + 1)), encoding="utf-8")
    return path


def ids(path: Path) -> list[str]:
    """Return the custom_ids of an output, in its order."""
    if not path.exists():
        return []
    return [json.loads(text)["custom_id"] for text in path.read_text(encoding="utf-8").splitlines()]


def names(count: int) -> list[str]:
    """Return the custom_ids of an input of so many lines."""
    return [f"r{number}" for number in range(1, count + 1)]


def repeats(emulator: Emulator) -> int:
    """Return how many requests came again; each key must have been for one body, and each body under one key."""
    keys: Counter[str] = Counter()
    bodies: dict[str, str] = {}
    for received in emulator.log:
        key = received.headers["Idempotency-Key"]
        keys[key] += 1
        assert bodies.setdefault(key, json.dumps(received.body)) == json.dumps(received.body)
    assert len(set(bodies.values())) == len(bodies)
    return sum(keys.values()) - len(keys)
