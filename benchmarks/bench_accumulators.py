"""Merging events into the reply: whether four times the deltas take four times as long, and what a live tool call costs.

The events are decoded beforehand. No I/O.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import corpus
from benchmarks.arena import Arena
from benchmarks.figures import Row
from benchmarks.peers import SUBJECT, Peer

__all__ = ["merge", "run", "stretch"]


def _merged(peer: Peer, streams: Sequence[corpus.Stream], *, live: bool) -> tuple[float, Any]:
    """Return the seconds that merging all of them took, each to a reply of its own, and the last reply."""
    decode_one = peer.decode(streams[0].format)
    decoded = [[decode_one(text) for text in stream.data] for stream in streams]
    gc.collect()  # what decoding left behind is not the merging's to clear away
    began = time.process_time()
    for events in decoded:
        result = peer.accumulate(streams[0].format, events, live=live)
    return time.process_time() - began, result


def stretch(peer: Peer, *, format: str, deltas: int, live: bool) -> dict[str, float]:  # noqa: A002 -- the house's word
    """Return what merging costs, and how many times as much four times the deltas do.

    Args:
        peer: Whose accumulator.
        format: One of the peer's.
        deltas: How many at first.
        live: Of a tool call, with the reply so far looked at behind each; else of a text.
    """
    make = corpus.tool_stream if live else corpus.text_stream
    short, long = make(format, deltas), make(format, 4 * deltas)
    shorts, longs = [], []
    # By turns, and four short ones for a long one: what slows the machine for a while then slows both alike, and as many events
    # are walked through, of which as few are still in a cache.
    for _ in range(7):
        shorts.append(_merged(peer, [short] * 4, live=live)[0] / 4)
        longs.append(_merged(peer, [long], live=live)[0])
    return {
        "µs CPU an event": min(longs) / deltas / 4 * 1e6,
        "time for four times the deltas, in times": min(longs) / min(shorts),
    }


def merge(peer: Peer, *, format: str, pieces: int) -> dict[str, float]:  # noqa: A002
    """Return what a tool call in so many pieces of 16 characters costs, looked at behind each, parsed."""
    stream = corpus.tool_stream(format, pieces)
    seconds, result = _merged(peer, [stream], live=True)
    if len(result["rows"]) < pieces // 8:
        raise ValueError("the arguments did not come out whole")
    return {"ms CPU": seconds * 1e3}


def run(arena: Arena) -> list[Row]:
    """Return the figures of all accumulators."""
    rows: list[Row] = []
    deltas = 250 if arena.quick else 4_000
    for name in corpus.FORMATS:
        peers = [SUBJECT]
        rows += arena.compete(
            "accumulators", f"{name}, text", peers, stretch, rounds=arena.rounds(7), format=name, deltas=deltas, live=False
        )
    for name in ("messages", "chat_completions"):
        rows += arena.compete(
            "accumulators",
            f"{name}, live tool call",
            [SUBJECT],
            stretch,
            rounds=arena.rounds(7),
            format=name,
            deltas=deltas // 4,
            live=True,
        )
    pieces = 400 if arena.quick else 4_000
    for name in ("messages", "chat_completions"):
        peers = [peer for peer in arena.peers("accumulate", name) if peer in {SUBJECT, "openai", "anthropic"}]
        rows += arena.compete(
            "accumulators",
            f"{name}, tool call of {pieces * 16 // 1000} KB in {pieces:,} pieces, parsed at each",
            peers,
            merge,
            rounds=arena.rounds(3),
            warm=False,
            format=name,
            pieces=pieces,
        )
    return rows
