"""Decoding alone: the JSON of one streamed event to the object that the consumer gets. No I/O."""

from __future__ import annotations

import time

from benchmarks import corpus
from benchmarks.arena import Arena
from benchmarks.figures import Row
from benchmarks.peers import RAW, Peer

__all__ = ["decode", "run"]


def decode(peer: Peer, *, format: str, events: int, tool: bool) -> dict[str, float]:  # noqa: A002 -- the house's word
    """Return what it costs to decode the events of a text, or of a tool call."""
    stream = corpus.tool_stream(format, events) if tool else corpus.text_stream(format, events)
    data = stream.data
    decode_one = peer.decode(format)
    for text in data[: len(stream.head) + 2]:
        decode_one(text)
    began = time.process_time()
    made = [decode_one(text) for text in data]
    seconds = time.process_time() - began
    return {"µs CPU an event": seconds / len(made) * 1e6}


def run(arena: Arena) -> list[Row]:
    """Return the figures of all formats."""
    rows: list[Row] = []
    events = 200 if arena.quick else 2_000
    for name in corpus.FORMATS:
        for tool in (False, True):
            if tool and name == "generate_content":
                continue  # its tool calls come whole
            case = f"{name}, {'tool call' if tool else 'text'}"
            peers = arena.peers("decode", name, without=(RAW,))
            rows += arena.compete("events", case, peers, decode, rounds=arena.rounds(7), format=name, events=events, tool=tool)
    return rows
