"""What the emulator says to the page when there is no key: an echo, and one answer for each prompt that the page suggests.

Values only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dgrid_async.emulator import ErrorEvent, Received, Script, ToolCall

__all__ = ["PROMPTS", "rehearse"]

# Slow enough to see the words come.
_PACE = 0.03
_FAST = 0.004
_LONG = "".join(
    f"Paragraph {number}. The words come one by one, the page draws them once for each picture that the screen shows, and the"
    " whole stays as quick as it was in the beginning, however long it gets.\n\n"
    for number in range(1, 101)
)

PROMPTS: Mapping[str, Script] = {
    "Think first, then answer": Script(
        reasoning="The user wants to see me think. So: some thoughts first, told apart from the answer, then the answer.",
        text="Thoughts stand above, apart from the answer. A reload in the middle loses none of either.",
        pace=_PACE,
    ),
    "Call a tool": Script(
        text="I look up the weather in Lisbon.",
        tool_calls=(ToolCall("weather", {"city": "Lisbon", "days": [1, 2, 3], "unit": "celsius"}),),
        pace=_PACE,
    ),
    "Write a long answer": Script(text=_LONG, pace=_FAST),
    "Fail halfway": Script(
        text="This answer begins well, it goes on for some words, and then the gateway is overloaded, so it never ends.",
        pace=_PACE,
        fault=ErrorEvent(after=14, status=529),
    ),
}
"""The prompts that a page suggests, and what follows."""

_ECHO = Script(pace=_PACE)
_TURNS = ("messages", "input", "contents")


def rehearse(received: Received) -> Script:
    """Return how a request is answered; for `Emulator`."""
    body = received.body if isinstance(received.body, dict) else {}
    turns = next((body[name] for name in _TURNS if isinstance(body.get(name), list) and body[name]), [""])
    asked = json.dumps(turns[-1]).lower()
    return next((script for prompt, script in PROMPTS.items() if prompt.lower() in asked), _ECHO)
