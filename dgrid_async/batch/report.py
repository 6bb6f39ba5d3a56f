"""What a run came to: counts, tokens by kind, latency percentiles and cost; in numbers that do not grow with the run.

It reads replies and a price table; it writes nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from math import ceil, log2
from pathlib import Path
from typing import Any

import attrs

from dgrid_async.errors import ConfigError

__all__ = ["Latencies", "Prices", "Report", "Tokens"]

_MILLION = 1_000_000
# Two neighbouring buckets are this far apart, so a percentile is right to a hundredth.
_GROWTH = log2(1.02)
_LEAST = 1e-6
_FIRST = ceil(log2(_LEAST) / _GROWTH)
_CHAT = ("prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details")
_RESPONSES = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details")


@attrs.define
class Tokens:
    """Tokens by kind, whatever the format calls them.

    Attributes:
        input: All that was read, the next two included.
        cached_input: Of these, what a cache gave.
        cache_write: Of these, what a cache took in.
        output: All that was written, reasoning included.
        reasoning: Of these, what was thought.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @classmethod
    def of(cls, body: Any) -> Tokens:
        """Return the tokens that a reply's wire form counts; zeros where it counts none."""
        tokens = cls()
        tokens.count(body)
        return tokens

    def count(self, body: Any) -> None:
        """Add the tokens that a reply's wire form counts."""
        if type(body) is not dict:
            return
        if type(usage := body.get("usage")) is dict:
            get = usage.get
            if body.get("type") == "message":
                given, taken = _count(get("cache_read_input_tokens")), _count(get("cache_creation_input_tokens"))
                self.input += _count(get("input_tokens")) + given + taken
                self.cached_input += given
                self.cache_write += taken
                self.output += _count(get("output_tokens"))
                return
            # Some gateways count for Responses in the words of Chat.
            read, details, written, reasoned = _RESPONSES if "input_tokens" in usage else _CHAT
            self.input += _count(get(read))
            self.output += _count(get(written))
            if type(cached := get(details)) is dict:
                self.cached_input += _count(cached.get("cached_tokens"))
            if type(thought := get(reasoned)) is dict:
                self.reasoning += _count(thought.get("reasoning_tokens"))
        elif type(usage := body.get("usageMetadata")) is dict:
            get = usage.get
            thoughts = _count(get("thoughtsTokenCount"))
            self.input += _count(get("promptTokenCount")) + _count(get("toolUsePromptTokenCount"))
            self.cached_input += _count(get("cachedContentTokenCount"))
            self.output += _count(get("candidatesTokenCount")) + thoughts
            self.reasoning += thoughts

    @property
    def total(self) -> int:
        """All that was read and written."""
        return self.input + self.output

    def add(self, other: Tokens) -> None:
        """Add what another counts."""
        self.input += other.input
        self.cached_input += other.cached_input
        self.cache_write += other.cache_write
        self.output += other.output
        self.reasoning += other.reasoning


def _count(value: Any) -> int:
    if type(value) is int and value >= 0:
        return value
    try:
        return max(0, int(value))  # some gateways send digits
    except (TypeError, ValueError, OverflowError):
        return 0


class Latencies:
    """How long calls took: percentiles, right to 2 %, in some kilobytes for any number of calls."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._most = 0.0

    def add(self, seconds: float) -> None:
        """Take one in."""
        bucket = ceil(log2(seconds) / _GROWTH) if seconds > _LEAST else _FIRST
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        if seconds > self._most:  # noqa: PLR1730 -- once a call
            self._most = seconds

    def update(self, other: Latencies) -> None:
        """Take in what another holds."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self._most = max(self._most, other._most)

    def percentile(self, share: float) -> float | None:
        """Return the seconds within which this share of the calls ended, from 0 to 1; None where there was no call."""
        wanted, seen = share * sum(self._buckets.values()), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(math.exp2(bucket * _GROWTH), self._most)
        return None


class Prices:
    """What tokens cost, by model, as the caller gives it.

    Args:
        table: By model, as requests or replies name it, the price of a million tokens: `input`, `output`, and where they differ
            from `input`, `cached_input` and `cache_write`. The model `*` stands for all others.

    Raises:
        ConfigError: The table has another form.
    """

    def __init__(self, table: Mapping[str, Mapping[str, float]]) -> None:
        self._table: dict[str, tuple[float, float, float, float]] = {}
        given: Any = table  # it may come from a file
        if not isinstance(given, Mapping):
            raise ConfigError(
                'prices: give an object such as {"openai/gpt-4o": {"input": 2.5, "output": 10}}, per million tokens'
            )
        for model, prices in given.items():
            if not isinstance(prices, Mapping) or not {"input", "output"} <= prices.keys() <= _KINDS:
                raise ConfigError(
                    f"prices of {model!r}: give input and output, and if they differ cached_input and cache_write"
                )
            for kind, price in prices.items():
                if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price < math.inf:
                    raise ConfigError(f"prices of {model!r}: {kind}={price!r} is no price")
            plain = float(prices["input"])
            self._table[model] = (
                plain,
                float(prices.get("cached_input", plain)),
                float(prices.get("cache_write", plain)),
                float(prices["output"]),
            )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Prices:
        """Return the table in a file of JSON.

        Raises:
            ConfigError: The file cannot be read, or is no such table.
        """
        try:
            return cls(json.loads(Path(path).read_bytes()))
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is not JSON: {error}") from error

    def cost(self, tokens: Tokens, *models: str | None) -> float | None:
        """Return what tokens cost by the first of these names that has a price; None where none has."""
        for model in (*models, "*"):
            if model is not None and (prices := self._table.get(model)) is not None:
                plain, cached, written, output = prices
                rest = max(0, tokens.input - tokens.cached_input - tokens.cache_write)
                sum_ = rest * plain + tokens.cached_input * cached + tokens.cache_write * written + tokens.output * output
                return sum_ / _MILLION
        return None


_KINDS = {"input", "output", "cached_input", "cache_write"}


@attrs.define(kw_only=True)
class Report:
    """What there is to say of a job behind a run of it.

    Attributes:
        output: Where the answers are.
        failures: Where the failures are.
        lines: Of the job, done ones included.
        answered: Lines that have an answer, earlier runs included.
        failed: Lines that failed, earlier runs included.
        earlier: Lines that were done before this run.
        calls: Lines that were called in this run; all that follows is of these alone.
        attempts: How often they were sent.
        seconds: How long the run took.
        errors: How many failures by what they were; `BadLine` ones were never sent.
        tokens: What the answers took.
        latencies: How long calls took, waits between attempts included.
        cost: In the currency of the price table; None where none was given.
        unpriced: Answers of models that the table does not have.
        stopped: Why the run ended before its last line; None where it did not.
    """

    output: str = ""
    failures: str = ""
    lines: int = 0
    answered: int = 0
    failed: int = 0
    earlier: int = 0
    calls: int = 0
    attempts: int = 0
    seconds: float = 0.0
    errors: Counter[str] = attrs.field(factory=Counter)
    tokens: Tokens = attrs.field(factory=Tokens)
    latencies: Latencies = attrs.field(factory=Latencies, repr=False)
    cost: float | None = None
    unpriced: int = 0
    stopped: str | None = None

    @property
    def left(self) -> int:
        """Lines that are not done."""
        return self.lines - self.answered - self.failed

    @property
    def retries(self) -> int:
        """Attempts beyond the first of each call."""
        return max(0, self.attempts - self.calls)

    def price(self, cost: float | None) -> None:
        """Add what one answer cost; None where its model has no price."""
        self.cost = (self.cost or 0.0) + (cost or 0.0)
        self.unpriced += cost is None

    def update(self, other: Report) -> None:
        """Add the report of another shard of the same input."""
        for name in ("lines", "answered", "failed", "earlier", "calls", "attempts", "unpriced"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.errors.update(other.errors)
        self.tokens.add(other.tokens)
        self.latencies.update(other.latencies)
        if other.cost is not None:
            self.cost = (self.cost or 0.0) + other.cost
        self.stopped = self.stopped or other.stopped

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "output": self.output,
            "failures": self.failures,
            "lines": self.lines,
            "answered": self.answered,
            "failed": self.failed,
            "left": self.left,
            "stopped": self.stopped,
            "run": {
                "earlier": self.earlier,
                "calls": self.calls,
                "attempts": self.attempts,
                "retries": self.retries,
                "seconds": round(self.seconds, 3),
                "calls_per_second": round(self.calls / self.seconds, 3) if self.seconds else None,
                "errors": dict(self.errors.most_common()),
                "tokens": attrs.asdict(self.tokens),
                "latency": {name: _rounded(self.latencies.percentile(share)) for name, share in _SHARES.items()},
                "cost": None if self.cost is None else round(self.cost, 6),
                "unpriced": self.unpriced,
            },
        }

    def __str__(self) -> str:
        tokens, run = self.tokens, self.to_dict()["run"]
        rows = [
            ("lines", f"{self.lines:,}: {self.answered:,} answered, {self.failed:,} failed, {self.left:,} left"),
        ]
        if self.seconds:
            rows.append(("this run", f"{self.calls:,} calls in {self.seconds:.1f} s, {self.retries:,} retries"))
        if self.seconds and self.earlier:
            rows.append(("earlier", f"{self.earlier:,} lines were done before"))
        if self.errors:
            rows.append(("failures", ", ".join(f"{count:,} {name}" for name, count in self.errors.most_common())))
        if self.calls:
            told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in run["latency"].items() if seconds is not None)
            rows.append(("latency", told))
        if tokens.total:
            read, written = f"{tokens.input:,} in ({tokens.cached_input:,} cached)", f"{tokens.output:,} out"
            rows.append(("tokens", f"{read}, {written} ({tokens.reasoning:,} reasoning)"))
        if self.cost is not None:
            missing = f" ({self.unpriced:,} answers have no price)" if self.unpriced else ""
            rows.append(("cost", f"{self.cost:,.4f}{missing}"))
        rows.append(("output", self.output))
        if self.failed:
            rows.append(("failures in", self.failures))
        if self.stopped:
            rows.append(("stopped", self.stopped))
        return "\n".join(f"{name:<12}{value}" for name, value in rows)


_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
