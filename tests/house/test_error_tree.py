"""The error tree as it is drawn: every class, its parent, its place among the public names."""

from __future__ import annotations

import inspect
import re

import pytest

import dgrid_async
from dgrid_async import errors, failures
from dgrid_async.errors import APIStatusError, DGridError

TREE = {
    "DGridError": "Exception",
    "ConfigError": "DGridError",
    "ClientClosedError": "DGridError",
    "PoolTimeoutError": "DGridError",
    "APIConnectionError": "DGridError",
    "APITimeoutError": "APIConnectionError",
    "APIStatusError": "DGridError",
    "BadRequestError": "APIStatusError",
    "AuthenticationError": "APIStatusError",
    "InsufficientQuotaError": "APIStatusError",
    "PermissionDeniedError": "APIStatusError",
    "NotFoundError": "APIStatusError",
    "ConflictError": "APIStatusError",
    "RequestTooLargeError": "APIStatusError",
    "UnprocessableEntityError": "APIStatusError",
    "RateLimitError": "APIStatusError",
    "InternalServerError": "APIStatusError",
    "ServiceUnavailableError": "InternalServerError",
    "OverloadedError": "InternalServerError",
    "UnexpectedResponseError": "DGridError",
    "StreamTruncatedError": "DGridError",
    "StreamDecodeError": "DGridError",
    "EventTooLargeError": "DGridError",
}
STATUS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "InsufficientQuotaError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    413: "RequestTooLargeError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    502: "InternalServerError",
    503: "ServiceUnavailableError",
    504: "InternalServerError",
    529: "OverloadedError",
}


def defined() -> dict[str, type]:
    """Return the exception classes that the module itself makes."""
    found = inspect.getmembers(errors, inspect.isclass)
    return {name: cls for name, cls in found if issubclass(cls, Exception) and cls.__module__ == errors.__name__}


def test_tree_is_the_one_drawn() -> None:
    assert {name: cls.__bases__[0].__name__ for name, cls in defined().items()} == TREE
    assert all(len(cls.__bases__) == 1 for cls in defined().values())


def test_every_class_is_public_by_name_and_by_package() -> None:
    assert sorted(errors.__all__) == sorted(TREE) == errors.__all__
    for name in TREE:
        assert getattr(dgrid_async, name) is getattr(errors, name)
        assert name in dgrid_async.__all__


def test_every_class_but_the_tree_of_statuses_is_in_the_drawing() -> None:
    drawing = errors.__doc__ or ""
    named = set(re.findall(r"\b[A-Z]\w+Error\b", drawing))
    assert named <= set(TREE)
    assert named >= {name for name, parent in TREE.items() if parent == "DGridError"}


@pytest.mark.parametrize("name", TREE)
def test_every_class_says_what_it_is(name: str) -> None:
    cls = getattr(errors, name)
    assert issubclass(cls, DGridError)
    assert cls.__doc__
    assert cls.__doc__ != DGridError.__doc__ or cls is DGridError


@pytest.mark.parametrize(("status", "name"), STATUS.items())
def test_every_status_has_its_class(status: int, name: str) -> None:
    assert type(failures.from_response(status, {}, b"{}")).__name__ == name
    in_band = failures.from_event({"message": "x", "code": status}, {})
    assert (type(in_band).__name__, in_band.status) == (name, status)


@pytest.mark.parametrize("status", [405, 406, 408, 410, 415, 418, 425, 451, 300, 307])
def test_a_status_without_a_class_is_the_plain_error(status: int) -> None:
    error = failures.from_response(status, {}, b"{}")
    assert type(error) is APIStatusError
    assert error.status == status


@pytest.mark.parametrize("status", [501, 505, 507, 520, 524, 530, 599])
def test_every_other_server_error_is_the_general_one(status: int) -> None:
    assert type(failures.from_response(status, {}, b"{}")) is errors.InternalServerError
