"""The parameters of a call: every documented one is there for the editor to complete."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.apis.responses import params
from dgrid_async.config import CallOptions

DOCUMENTED: list[str] = json.loads((Path(__file__).parent / "catalogue.json").read_text())["params"]
DOCUMENTED.remove("stream")  # the client's own argument: it decides what `create` returns


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_parameter_is_there(name: str) -> None:
    assert name in typing.get_type_hints(params.CreateParams)


def test_nothing_else_is_there_but_the_options_of_a_call() -> None:
    assert set(typing.get_type_hints(params.CreateParams)) == {*DOCUMENTED, *typing.get_type_hints(CallOptions)}


def test_only_the_model_is_required() -> None:
    assert params.CreateParams.__required_keys__ == {"model"}


@pytest.mark.parametrize("name", params.__all__)
def test_every_annotation_can_be_resolved(name: str) -> None:
    value = getattr(params, name)
    if typing.is_typeddict(value):
        assert typing.get_type_hints(value)
        assert value.__doc__
    else:
        assert typing.get_args(value)


@pytest.mark.parametrize(
    ("param", "required"),
    [
        (params.MessageParam, {"role", "content"}),
        (params.FunctionCallOutputParam, {"type", "call_id", "output"}),
        (params.FunctionCallParam, {"type", "call_id", "name", "arguments"}),
        (params.FunctionToolParam, {"type", "name"}),
        (params.McpToolParam, {"type", "server_label"}),
        (params.InputTextParam, {"type", "text"}),
        (params.PromptParam, {"id"}),
        (params.ReasoningParam, set()),
    ],
)
def test_what_a_dict_must_hold(param: Any, required: set[str]) -> None:
    assert param.__required_keys__ == required
