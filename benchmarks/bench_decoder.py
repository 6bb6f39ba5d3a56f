"""The event stream decoder alone: bytes in, undecoded events out, in large and small pieces. No I/O, no JSON."""

from __future__ import annotations

import time

from benchmarks import corpus
from benchmarks.arena import Arena
from benchmarks.figures import Row
from benchmarks.peers import RAW, Peer

__all__ = ["run", "split"]

_READ = 64 * 1024
_BIG = 256 * 1024


def split(peer: Peer, *, shape: str, events: int) -> dict[str, float]:
    """Return how fast a peer finds the events in bytes.

    Args:
        peer: Whose decoder.
        shape: "read" for reads of 64 KiB, "event" for one event a read, "byte" for one byte a read, "big" for events of 256 KiB
            in reads of 64 KiB.
        events: How many.
    """
    if shape == "big":
        body = b"".join(b"data: " + b'{"image":"' + b"A" * _BIG + b'"}\n\n' for _ in range(events))
        pieces = [body[at : at + _READ] for at in range(0, len(body), _READ)]
    else:
        stream = corpus.text_stream("chat_completions", events)
        body = b"".join(stream.deltas)
        size = {"read": _READ, "byte": 1}.get(shape)
        pieces = list(stream.deltas) if size is None else [body[at : at + size] for at in range(0, len(body), size)]
    began = time.process_time()
    found = peer.split(pieces)
    seconds = time.process_time() - began
    if found != events:
        raise ValueError(f"{events} events went in, {found} came out")
    return {"MB/s": len(body) / seconds / 1e6, "events/s": events / seconds}


def run(arena: Arena) -> list[Row]:
    """Return the figures of all decoders."""
    rows: list[Row] = []
    size = 500 if arena.quick else 20_000
    cases = {
        "events of 300 bytes, 64 KiB a read": ("read", size),
        "events of 300 bytes, one a read": ("event", size),
        "events of 300 bytes, one byte a read": ("byte", size // 50),
        "events of 256 KiB, 64 KiB a read": ("big", size // 500),
    }
    for case, (shape, events) in cases.items():
        peers = arena.peers("split", without=(RAW,))
        rows += arena.compete("decoder", case, peers, split, rounds=arena.rounds(7), shape=shape, events=events)
    return rows
