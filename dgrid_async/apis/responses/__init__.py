"""The Responses API (`POST /v1/responses`): what users name of its reply, events and parameters."""

from dgrid_async.apis.responses import events, params, types
from dgrid_async.apis.responses.events import *  # noqa: F403 -- each module says itself what is public
from dgrid_async.apis.responses.params import *  # noqa: F403
from dgrid_async.apis.responses.types.content import *  # noqa: F403
from dgrid_async.apis.responses.types.items import *  # noqa: F403
from dgrid_async.apis.responses.types.reply import *  # noqa: F403
from dgrid_async.apis.responses.types.settings import *  # noqa: F403
from dgrid_async.apis.responses.types.tools import *  # noqa: F403
from dgrid_async.media import input_audio, input_file, input_image

__all__ = ["input_audio", "input_file", "input_image"]
__all__ += events.__all__
__all__ += params.__all__
__all__ += types.__all__
