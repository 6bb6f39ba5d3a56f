"""The reply of the Responses API and all that is in it: the public names of the modules beside this one."""

from dgrid_async.apis.responses.types import content, items, reply, settings, tools
from dgrid_async.apis.responses.types.content import *  # noqa: F403 -- each module says itself what is public
from dgrid_async.apis.responses.types.items import *  # noqa: F403
from dgrid_async.apis.responses.types.reply import *  # noqa: F403
from dgrid_async.apis.responses.types.settings import *  # noqa: F403
from dgrid_async.apis.responses.types.tools import *  # noqa: F403

__all__: list[str] = []
__all__ += content.__all__
__all__ += items.__all__
__all__ += reply.__all__
__all__ += settings.__all__
__all__ += tools.__all__
