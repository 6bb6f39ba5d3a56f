"""Checks of single fields."""

from __future__ import annotations

from typing import Any

import pytest

from dgrid_async.emulator.problems import Problem, must_be, must_have, roles_must_be


@pytest.mark.parametrize("value", [1, 1.0, 4096])
def test_integers(value: Any) -> None:
    must_have({"n": value}, "n", int, least=1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "x.n: field required"),
        ({"n": None}, "x.n: field required"),
        ({"n": "1"}, "x.n: must be an integer"),
        ({"n": True}, "x.n: must be an integer"),
        ({"n": 1.5}, "x.n: must be an integer"),
        ({"n": 0}, "x.n: must be at least 1"),
    ],
)
def test_must_have(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem) as caught:
        must_have(body, "n", int, least=1, place="x.")
    assert (caught.value.status, caught.value.message, caught.value.param) == (400, words, "x.n")


@pytest.mark.parametrize("value", ["", []])
def test_must_have_something_in_it(value: Any) -> None:
    with pytest.raises(Problem, match="must not be empty"):
        must_have({"n": value}, "n", str, list)


def test_must_be_allows_absence_only() -> None:
    must_be({}, "n", str)
    must_be({"n": None}, "n", str)
    must_be({"n": 1.5}, "n", float)
    with pytest.raises(Problem, match="n: must be a string or an object"):
        must_be({"n": []}, "n", str, dict)


def test_roles() -> None:
    roles_must_be([{"role": "user"}], ("user",), "messages")
    roles_must_be([{}], ("user",), "contents", required=False)
    for entry, words in (
        ({"role": "boss"}, "messages.0.role: must be one of user, assistant"),
        ({}, "messages.0.role: field required"),
        ("hello", "messages.0: must be an object"),
    ):
        with pytest.raises(Problem, match=words):
            roles_must_be([entry], ("user", "assistant"), "messages")
