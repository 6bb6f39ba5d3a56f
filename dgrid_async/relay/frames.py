"""The frames: what a page gets of an answer, in one small JSON shape for all four wire formats.

Every frame has an `id`, which increases by one or, where frames were joined, by more: the id is then that of the last one
joined. `type` says what else is in it:

    start           reply, model                               first, once; `reply` is the vendor's id; either may be null
    text            choice, block, text                        more of the answer; `refusal: true` where it is a refusal
    reasoning       choice, block, text                        more of what the model thinks
    tool_call       choice, block, name, call, kind            a call begins; `call` is the vendor's id or null, `kind` is
                                                               "function" or "custom" (the caller's tools) or "server"
    tool_arguments  choice, block, text                        more of its arguments: JSON text, or a custom tool's own
    tool_end        choice, block                              the call is whole
    usage           input_tokens, output_tokens                all of them; `reasoning_tokens` (part of the output) and
                                                               `cached_tokens` (part of the input) where there are any
    finish          reason, native                             last: the answer is whole. `reason` is "stop", "length",
                                                               "tool_calls", "filtered", "stopped" (by the reader) or
                                                               "other", `native` the vendor's own word or null;
                                                               `choices` says the same of each, where there are several
    error           error, status, code, message, retry_after,
                    request_id                                 last: the answer will not be whole; all but `error` (the
                                                               class) and `message` may be null

Calls without arguments may have no `tool_arguments`. `block` numbers the texts, reasonings and calls of an answer from 0 in
the order in which they begin; a page keeps one element for each. A relay ends with `finish` or `error`, never both. What has no
frame (media, sources, odds) is in the reply, or use `raw`: then each event is one frame `raw` with `event`, the vendor's own
JSON, between `start` and `usage`.

Sans-IO; linear in the events; never waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dgrid_async import codec
from dgrid_async.errors import ConfigError, DGridError
from dgrid_async.relay.blocks import Blocks, Frame
from dgrid_async.relay.readers import READERS, GenerateContentReader

__all__ = ["Frame", "Framer", "Passage", "error_frame", "frame_json"]

# The vendors' words for the end of an answer, in one vocabulary; a word that is not here is "other".
_REASONS: Mapping[str, str] = {
    **dict.fromkeys(("end_turn", "stop_sequence", "stop", "completed", "STOP"), "stop"),
    **dict.fromkeys(
        ("max_tokens", "length", "max_output_tokens", "model_context_window_exceeded", "MAX_TOKENS"),
        "length",
    ),
    **dict.fromkeys(("tool_use", "tool_calls", "function_call"), "tool_calls"),
    **dict.fromkeys(("refusal", "content_filter", "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT"), "filtered"),
    **dict.fromkeys(
        ("SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "JAILBREAK"), "filtered"
    ),
}


class Framer:
    """Turns the events of one stream into frames.

    Args:
        name: The format by the name of its endpoint: `messages`, `chat_completions`, `responses` or `generate_content`.
        raw: Give the vendor's events as they came instead.

    Raises:
        ValueError: No format has this name.
    """

    def __init__(self, name: str, *, raw: bool = False) -> None:
        if name not in READERS:
            raise ValueError(f"no format {name!r}: give one of {', '.join(READERS)}")
        self._blocks = Blocks()
        self._reader = READERS[name](self._blocks)
        # Of a raw answer the reader's frames are not given, but for what it says of the end.
        self._given = Blocks() if raw else self._blocks

    def frames(self, event: Any) -> list[Frame]:
        """Return the frames that an event adds; often one, sometimes none."""
        self._reader.read(event)
        frames = self._blocks.take()
        given = self._given
        if given is self._blocks:
            return frames
        for frame in frames:
            if frame["type"] == "start":
                given.start(frame["reply"], frame["model"])
        given.write("raw", event=event.to_dict())
        return given.take()

    def end(self, usage: Any = None) -> list[Frame]:
        """Return the last frames of an answer that is whole.

        Args:
            usage: The stream's usage object, or None.
        """
        blocks = self._blocks
        self._close(usage)
        said = {choice: self._reason(choice) for choice in sorted(blocks.finishes)}
        first = next(iter(said.values()), {"reason": "other", "native": None})
        more = {"choices": [{"choice": choice, **reason} for choice, reason in said.items()]} if len(said) > 1 else {}
        self._given.write("finish", **first, **more)
        return self._given.take()

    def stop(self, usage: Any = None) -> list[Frame]:
        """Return the last frames of an answer that its reader has stopped."""
        self._close(usage)
        self._given.write("finish", reason="stopped", native=None)
        return self._given.take()

    def fail(self, error: BaseException, usage: Any = None) -> list[Frame]:
        """Return the last frames of an answer that an error has ended: a call that was under way stays open."""
        self._count(usage)
        self._given.write("error", **error_frame(error))
        return self._given.take()

    def _close(self, usage: Any) -> None:
        if isinstance(self._reader, GenerateContentReader):
            self._reader.end()
        self._blocks.end_calls()
        self._count(usage)

    def _count(self, usage: Any) -> None:
        if usage is not None:
            self._given.write("usage", **self._reader.counts(usage))

    def _reason(self, choice: int) -> Frame:
        native = self._blocks.finishes[choice]
        reason = _REASONS.get(native, "other")
        if reason == "stop" and choice in self._blocks.calling:
            reason = "tool_calls"
        return {"reason": reason, "native": native}


class Passage:
    """Takes frames in the place of events, for sources that give frames: the same methods as a `Framer`.

    Attributes:
        failed: An error frame has passed.
    """

    def __init__(self) -> None:
        self.failed = False
        # The mutable state: the last id, and the source's own last frame once it has come.
        self._last = 0
        self._final: Frame | None = None

    def frames(self, event: Frame) -> list[Frame]:
        """Return a copy of the frame, for it may be shared and joined frames are changed; the last one waits for `end`."""
        self._last = event.get("id", self._last)
        self.failed = event["type"] == "error"
        if self.failed or event["type"] == "finish":
            self._final = dict(event)
            return []
        return [dict(event)]

    def end(self, _usage: Any = None) -> list[Frame]:
        """Return the source's last frame, if it has come."""
        return [] if self._final is None else [self._final]

    def stop(self, _usage: Any = None) -> list[Frame]:
        """Return the last frame of an answer that its reader has stopped."""
        return self.end() or [{"id": self._last + 1, "type": "finish", "reason": "stopped", "native": None}]

    def fail(self, error: BaseException, _usage: Any = None) -> list[Frame]:
        """Return the last frame of an answer that an error has ended."""
        return self.end() or [{"id": self._last + 1, "type": "error", **error_frame(error)}]


def error_frame(error: BaseException) -> Frame:
    """Return the fields of an error's frame, without id and type; of the server's own errors a general word only.

    What the package raises never holds a key. Another error's text might, and is none of the page's business.
    """
    ours = isinstance(error, DGridError) and not isinstance(error, ConfigError)
    return {
        "error": type(error).__name__ if ours else "InternalError",
        "status": getattr(error, "status", None) if ours else None,
        "code": getattr(error, "code", None) if ours else None,
        "message": error.message if isinstance(error, DGridError) and ours else "the server failed",
        "retry_after": getattr(error, "retry_after", None) if ours else None,
        "request_id": getattr(error, "request_id", None) if ours else None,
    }


def frame_json(frame: Frame) -> str:
    """Return a frame as JSON text, in one line."""
    return codec.encode(frame).decode()
