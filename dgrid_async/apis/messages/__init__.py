"""The Messages API (`POST /v1/messages`): its reply, its events and its parameters."""

from dgrid_async.apis.messages import events, params, types
from dgrid_async.apis.messages.events import *  # noqa: F403 -- each module says itself what is public
from dgrid_async.apis.messages.params import *  # noqa: F403
from dgrid_async.apis.messages.types import *  # noqa: F403
from dgrid_async.media import document_block, image_block

__all__ = ["document_block", "image_block"]
__all__ += events.__all__
__all__ += params.__all__
__all__ += types.__all__
