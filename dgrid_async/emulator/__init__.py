"""A stand-in for the gateway on loopback: it speaks the four wire formats as scripted, faults included.

It is written from the vendors' public formats and shares no code with the client, so that one misreading cannot cancel
itself out on both sides.
"""

from dgrid_async.emulator.log import Log, Received
from dgrid_async.emulator.script import (
    COMMENT,
    PING,
    Abort,
    Close,
    Cut,
    ErrorEvent,
    Fault,
    HoldOpen,
    Html,
    Insert,
    Malformed,
    Script,
    Stall,
    ToolCall,
    Usage,
    WholeJson,
)
from dgrid_async.emulator.server import Emulator, serve

__all__ = [
    "COMMENT",
    "PING",
    "Abort",
    "Close",
    "Cut",
    "Emulator",
    "ErrorEvent",
    "Fault",
    "HoldOpen",
    "Html",
    "Insert",
    "Log",
    "Malformed",
    "Received",
    "Script",
    "Stall",
    "ToolCall",
    "Usage",
    "WholeJson",
    "serve",
]
