"""Counts, tokens by kind in every format, percentiles, cost."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import ConfigError
from dgrid_async.batch.report import Latencies, Prices, Report, Tokens


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (
            {
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 7,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 3},
                }
            },
            Tokens(10, 4, 0, 7, 3),
        ),
        (
            {"usage": {"input_tokens": 10, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 4}}},
            Tokens(10, 4, 0, 7, 0),
        ),
        (
            {
                "type": "message",
                "usage": {
                    "input_tokens": 10,
                    "output_tokens": 7,
                    "cache_read_input_tokens": 4,
                    "cache_creation_input_tokens": 2,
                },
            },
            Tokens(16, 4, 2, 7, 0),
        ),
        (
            {
                "usageMetadata": {
                    "promptTokenCount": 10,
                    "cachedContentTokenCount": 4,
                    "toolUsePromptTokenCount": 1,
                    "candidatesTokenCount": 5,
                    "thoughtsTokenCount": 3,
                }
            },
            Tokens(11, 4, 0, 8, 3),
        ),
        ({"usage": {"prompt_tokens": "10", "completion_tokens": None, "prompt_tokens_details": None}}, Tokens(10)),
        ({"usage": {"prompt_tokens": -3, "completion_tokens": [1], "prompt_tokens_details": 7}}, Tokens()),
        ({}, Tokens()),
        ({"usage": None}, Tokens()),
        ("text", Tokens()),
    ],
)
def test_tokens_of_every_format_are_of_the_same_kinds(body: Any, wanted: Tokens) -> None:
    assert Tokens.of(body) == wanted


def test_tokens_add_up() -> None:
    tokens = Tokens(1, 2, 3, 4, 5)
    tokens.add(Tokens(10, 20, 30, 40, 50))
    assert tokens == Tokens(11, 22, 33, 44, 55)
    assert tokens.total == 55


def test_percentiles_are_right_to_two_in_a_hundred() -> None:
    draw = random.Random(1)
    values = sorted(draw.lognormvariate(0, 1.5) for _ in range(5000))
    whole, half = Latencies(), Latencies()
    for n, value in enumerate(values):
        (whole if n % 2 else half).add(value)
    whole.update(half)
    for share in (0.5, 0.9, 0.99, 1.0):
        found = whole.percentile(share)
        assert found == pytest.approx(values[min(int(share * 5000), 4999)], rel=0.03)
    assert whole.percentile(1.0) == values[-1]
    assert len(whole._buckets) < 800
    assert Latencies().percentile(0.5) is None


def test_a_call_that_took_no_time_counts() -> None:
    latencies = Latencies()
    latencies.add(0.0)
    assert latencies.percentile(0.5) == 0.0


def test_prices_are_by_kind_and_by_million() -> None:
    prices = Prices({"a": {"input": 2, "output": 10, "cached_input": 1}, "b": {"input": 1, "output": 1, "cache_write": 5}})
    assert prices.cost(Tokens(1_000_000, 400_000, 0, 100_000), "a") == pytest.approx(0.6 * 2 + 0.4 * 1 + 0.1 * 10)
    assert prices.cost(Tokens(100, 0, 100, 0), None, "b") == pytest.approx(0.0005)
    assert prices.cost(Tokens(1), "c") is None
    assert Prices({"*": {"input": 1, "output": 1}}).cost(Tokens(1_000_000), "c") == 1.0


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"a": 3},
        {"a": {"input": 1}},
        {"a": {"input": 1, "output": "2"}},
        {"a": {"input": 1, "output": -2}},
        {"a": {"input": 1, "output": True}},
        {"a": {"input": 1, "output": 1, "thought": 2}},
        {"a": {"input": 1, "output": float("nan")}},
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, table: Any) -> None:
    with pytest.raises(ConfigError, match="price"):
        Prices(table)
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(ConfigError, match="price"):
        Prices.read(path)


def test_a_price_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Prices.read(tmp_path / "none")
    (tmp_path / "bad").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="not JSON"):
        Prices.read(tmp_path / "bad")


def made() -> Report:
    report = Report(output="out", failures="bad", lines=10, answered=6, failed=2, calls=7, attempts=9, seconds=2.0)
    report.errors = Counter({"RateLimitError": 1, "BadLine": 1})
    report.tokens = Tokens(1000, 10, 0, 500, 5)
    for n in range(7):
        report.latencies.add(0.1 * (n + 1))
    report.price(1.5)
    report.price(None)
    return report


def test_a_report_says_it_all_as_text_and_as_json() -> None:
    report = made()
    text = str(report)
    for part in ("10: 6 answered, 2 failed, 2 left", "7 calls in 2.0 s, 2 retries", "p50 0.40 s", "1,000 in (10 cached)"):
        assert part in text
    for part in ("1 RateLimitError", "500 out (5 reasoning)", "1.5000 (1 answers have no price)", "bad"):
        assert part in text
    value = json.loads(json.dumps(report.to_dict()))
    assert (value["left"], value["run"]["retries"], value["run"]["cost"]) == (2, 2, 1.5)
    assert value["run"]["latency"]["max"] == 0.7
    assert value["run"]["calls_per_second"] == 3.5


def test_reports_of_shards_add_up_and_travel() -> None:
    whole = Report()
    for _ in range(2):
        whole.update(pickle.loads(pickle.dumps(made())))  # noqa: S301 -- our own
    assert (whole.lines, whole.answered, whole.calls, whole.retries, whole.cost, whole.unpriced) == (20, 12, 14, 4, 3.0, 2)
    assert whole.errors["BadLine"] == 2
    assert whole.latencies.percentile(1.0) == pytest.approx(0.7)
    assert str(Report()).startswith("lines")
