"""The transcripts: streams made by hand, as bytes and as documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.formats import Document

__all__ = ["SAMPLES", "Sample"]

FOLDER = Path(__file__).parents[1] / "transcripts"


@dataclass(frozen=True)
class Sample:
    """One transcript.

    Attributes:
        api: The slice's name.
        name: The file's name without its ending.
        conforming: Whether it keeps to its vendor's protocol and ends well.
        data: Its bytes.
    """

    api: str
    name: str
    conforming: bool
    data: bytes

    def __str__(self) -> str:
        return f"{self.api}/{self.name}"

    def documents(self) -> list[Document]:
        """Return its events; lines that belong to none are left out."""
        found = []
        for block in re.split(r"(?:\r?\n){2,}", self.data.decode("utf-8", "replace").removeprefix("\ufeff")):
            fields = [line.partition(":") for line in re.split(r"\r\n|\r|\n", block)]
            name = next((value.strip() for field, _, value in fields if field == "event"), None)
            text = "\n".join(value.removeprefix(" ") for field, _, value in fields if field == "data")
            if text:
                found.append(Document(name, _value(text)))
        return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _samples() -> Iterator[Sample]:
    index = json.loads((FOLDER / "index.json").read_text())
    for api, names in index.items():
        for name, flags in names.items():
            yield Sample(api, name, not flags, (FOLDER / api / f"{name}.sse").read_bytes())


SAMPLES = tuple(_samples())
