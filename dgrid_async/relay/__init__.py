"""Tokens to browsers: relays of one answer to a websocket or an event stream, which end it upstream when the client leaves.

    from dgrid_async.relay import relay

`dgrid_async.relay.frames` says what a page gets. Nothing here imports a web framework.
"""

from __future__ import annotations

from dgrid_async.relay.broadcasting import Broadcast, BroadcastReport, broadcast
from dgrid_async.relay.channel import SubscriberTooSlowError, Subscription
from dgrid_async.relay.disconnect import ClientGoneError, cancel_on_disconnect
from dgrid_async.relay.event_stream import SSE_HEADERS, SSEBytes, sse_bytes, sse_response
from dgrid_async.relay.frames import Frame, Framer, error_frame, frame_json
from dgrid_async.relay.pump import FrameSource, Report, relay
from dgrid_async.relay.sinks import Sink

__all__ = [
    "SSE_HEADERS",
    "Broadcast",
    "BroadcastReport",
    "ClientGoneError",
    "Frame",
    "FrameSource",
    "Framer",
    "Report",
    "SSEBytes",
    "Sink",
    "SubscriberTooSlowError",
    "Subscription",
    "broadcast",
    "cancel_on_disconnect",
    "error_frame",
    "frame_json",
    "relay",
    "sse_bytes",
    "sse_response",
]
