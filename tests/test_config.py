"""The options: what is refused when it is made, what stays hidden, what an address and a header become."""

# ruff: noqa: S301 -- what is unpickled was pickled here

from __future__ import annotations

import copy
import inspect
import math
import pickle
import re
import traceback
from typing import Any

import attrs
import pytest

from dgrid_async.config import (
    CALL_OPTIONS,
    DEFAULT_BASE_URL,
    CallOptions,
    Limits,
    Retries,
    Secret,
    Timeouts,
    normal_base_url,
    normal_headers,
    normal_key,
)
from dgrid_async.errors import ConfigError

KEY = "sk-dgrid-0123456789abcdef"
OPTIONAL = [(Timeouts, field.name) for field in attrs.fields(Timeouts)] + [(Limits, "pool_timeout"), (Limits, "max_age")]
SECONDS = [(Limits, "keep_alive"), (Limits, "dns_cache"), (Limits, "error_seconds")]
DELAYS = [(Retries, "initial_delay"), (Retries, "max_delay"), (Retries, "max_retry_after")]
COUNTS = [(Retries, "max_attempts"), (Limits, "max_event_bytes"), (Limits, "max_error_bytes")]


# ------------------------------------------------------------------------------------------------------- options


def test_every_option_is_tested_here() -> None:
    told = {(cls, name) for cls, name in [*OPTIONAL, *SECONDS, *DELAYS, *COUNTS, (Limits, "max_connections")]}
    assert told == {(cls, field.name) for cls in (Timeouts, Retries, Limits) for field in attrs.fields(cls)}


@pytest.mark.parametrize(("cls", "name"), [*OPTIONAL, *SECONDS, *DELAYS])
@pytest.mark.parametrize("value", [0.001, 1, 2.5, 86_400])
def test_seconds_are_taken(cls: Any, name: str, value: float) -> None:
    assert getattr(cls(**{name: value}), name) == value


@pytest.mark.parametrize(("cls", "name"), [*OPTIONAL, *SECONDS, *DELAYS])
@pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf, -math.inf, True, "5", [5], 10**400])
def test_what_is_no_time_is_refused_by_name(cls: Any, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        cls(**{name: value})


@pytest.mark.parametrize(("cls", "name"), [*OPTIONAL, *SECONDS])
def test_no_time_at_all_is_refused(cls: Any, name: str) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        cls(**{name: 0})


@pytest.mark.parametrize(("cls", "name"), DELAYS)
def test_a_delay_may_be_zero(cls: Any, name: str) -> None:
    assert getattr(cls(**{name: 0}), name) == 0


@pytest.mark.parametrize(("cls", "name"), [*OPTIONAL, (Limits, "max_connections")])
def test_none_is_no_limit(cls: Any, name: str) -> None:
    assert getattr(cls(**{name: None}), name) is None


@pytest.mark.parametrize(("cls", "name"), [*SECONDS, *DELAYS, *COUNTS])
def test_none_is_refused_where_there_must_be_a_limit(cls: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        cls(**{name: None})


@pytest.mark.parametrize(("cls", "name"), [*COUNTS, (Limits, "max_connections")])
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", math.nan])
def test_what_is_no_count_is_refused_by_name(cls: Any, name: str, value: Any) -> None:
    assert getattr(cls(**{name: 1}), name) == 1
    with pytest.raises(ConfigError, match=name):
        cls(**{name: value})


def test_the_order_of_limits_is_that_of_a_call() -> None:
    assert Timeouts(1, 2, 3, 4, 5) == Timeouts(connect=1, first_event=2, idle=3, event=4, total=5)
    assert Retries(5).max_attempts == 5


@pytest.mark.parametrize("cls", [Timeouts, Retries, Limits])
def test_options_are_frozen_values(cls: Any) -> None:
    made = cls()
    name = attrs.fields(cls)[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(made, name, 1)
    with pytest.raises((AttributeError, TypeError)):
        made.unheard_of = 1
    with pytest.raises(TypeError):
        cls(unheard_of=1)
    twin = pickle.loads(pickle.dumps(made))
    assert twin == made == attrs.evolve(made)
    assert hash(twin) == hash(made)
    assert attrs.evolve(made, **{name: 7}) != made
    with pytest.raises(ConfigError):
        attrs.evolve(made, **{name: -1})


@pytest.mark.parametrize("cls", [Timeouts, Retries, Limits])
def test_every_default_is_documented_with_its_number(cls: Any) -> None:
    parts = re.split(r"^\s{4,}(?=\w+: )", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    told = {name: text for name, _, text in (part.partition(":") for part in parts)}
    for field in attrs.fields(cls):
        default = field.default
        shown = {64 * 1024 * 1024: "64 MiB", 64 * 1024: "64 KiB", 1000: "1,000", None: "None"}.get(
            default, f"{default:g}" if default else ""
        )
        assert shown in told[field.name], field.name


def test_call_options_are_what_a_call_may_set() -> None:
    assert set(CallOptions.__annotations__) == CALL_OPTIONS
    assert {"extra_headers", "extra_query", "extra_body", "timeouts", "retries", "idempotency_key"} == CALL_OPTIONS


# ------------------------------------------------------------------------------------------------------- secrets


@attrs.frozen
class Holder:
    secret: Secret


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>30}",
        "%s" % secret,  # noqa: UP031 -- a way to show it
        repr([secret]),
        repr(Holder(secret)),
        repr(attrs.asdict(Holder(secret))),
        repr(inspect.getmembers(secret)),
        repr([getattr(secret, name) for name in dir(secret) if name != "reveal"]),
        repr(secret.__getstate__()),
    ]
    assert [text for text in shown if KEY in text] == []
    with pytest.raises(TypeError):
        vars(secret)


def test_a_secret_does_not_pickle() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="DGRID_API_KEY") as caught:
            pickle.dumps(Secret(KEY), protocol)
        assert KEY not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(TypeError):
        copy.deepcopy(Secret(KEY))


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) != Secret("x")
    assert Secret(KEY) != KEY
    assert len({Secret(KEY), Secret(KEY), Secret("x")}) == 2


# ------------------------------------------------------------------------------------------------------- the address


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.dgrid.ai", "https://api.dgrid.ai"),
        ("https://api.dgrid.ai/", "https://api.dgrid.ai"),
        ("https://api.dgrid.ai/v1", "https://api.dgrid.ai"),
        ("https://api.dgrid.ai/v1/", "https://api.dgrid.ai"),
        ("https://api.dgrid.ai//v1//", "https://api.dgrid.ai"),
        (" https://api.dgrid.ai/v1\n", "https://api.dgrid.ai"),
        ("https://api.dgrid.ai/api", "https://api.dgrid.ai/api"),
        ("https://api.dgrid.ai/api/v1", "https://api.dgrid.ai/api"),
        ("https://api.dgrid.ai/v1/proxy", "https://api.dgrid.ai/v1/proxy"),
        ("https://api.dgrid.ai/xv1", "https://api.dgrid.ai/xv1"),
        ("HTTP://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_base_url_forms(given: str, used: str) -> None:
    assert normal_base_url(given) == used
    assert normal_base_url(used) == used


def test_the_default_address_is_normal() -> None:
    assert normal_base_url(DEFAULT_BASE_URL) == DEFAULT_BASE_URL == "https://api.dgrid.ai"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "api.dgrid.ai",
        "ftp://api.dgrid.ai",
        "https://",
        "https:///v1",
        "https:api.dgrid.ai",
        "http://[::1",
        "http://host:port",
        "http://host:99999",
        "https://a b",
        "https://a\tb",
        "https://a\\b",
        "https://@host",
        f"https://user:{KEY}@host",
        f"https://{KEY}@host/v1",
        f"https://host/v1?key={KEY}",
        f"https://host/v1#{KEY}",
        KEY,
        None,
        5,
        b"https://api.dgrid.ai",
    ],
)
def test_what_is_no_address_is_refused_without_showing_a_key(given: Any) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        normal_base_url(given)
    assert KEY not in "".join(traceback.format_exception(caught.value))


# ------------------------------------------------------------------------------------------------------- key, headers


@pytest.mark.parametrize("given", [KEY, f" {KEY}\n", f"{KEY}\r\n"])
def test_key_is_taken_without_the_space_around_it(given: str) -> None:
    assert normal_key(given).reveal() == KEY


@pytest.mark.parametrize(
    "given", ["", "  ", "\n", f"{KEY} x", f"Bearer {KEY}", f"{KEY}\nx", f"“{KEY}”", f"{KEY}\x00", 5, b"sk-x"]
)
def test_what_is_no_key_is_refused_without_showing_it(given: Any) -> None:
    with pytest.raises(ConfigError, match="key") as caught:
        normal_key(given)
    assert KEY not in str(caught.value)


def test_header_names_become_lower_case() -> None:
    assert normal_headers(
        {"X-Title": "My app", "HTTP-Referer": "https://a.example", "x-tab": "a\tb", "X-É".replace("É", "e"): "é"}
    ) == {
        "x-title": "My app",
        "http-referer": "https://a.example",
        "x-tab": "a\tb",
        "x-e": "é",
    }
    assert normal_headers({"A": "1", "a": "2"}) == {"a": "2"}
    assert normal_headers({}) == {}


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\n", "é", "a\x00", "a(b", "a/b", "a@b", 'a"b', 5, None])
def test_header_names_that_no_header_may_have(name: Any) -> None:
    with pytest.raises(ConfigError, match="header"):
        normal_headers({name: "x"})


@pytest.mark.parametrize("value", [f"{KEY}\r\nx: y", f"{KEY}\n", f"{KEY}\0", f"{KEY}\x1b", f"{KEY}\x7f", None, 5, KEY.encode()])
def test_header_values_that_no_header_may_have_are_not_shown(value: Any) -> None:
    with pytest.raises(ConfigError, match="'authorization'") as caught:
        normal_headers({"authorization": value})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("headers", [[("a", "b")], "a: b", 5])
def test_headers_are_a_mapping(headers: Any) -> None:
    with pytest.raises(ConfigError, match="mapping"):
        normal_headers(headers)
