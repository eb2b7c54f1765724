"""The article's module under Twisted, as the article had it: on Twisted's asyncio reactor.

Start it with `python examples/twisted_reactor.py [tcp://127.0.0.1:5678]`.
"""

import asyncio
import sys

from article import module
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.internet.main import installReactor

loop = asyncio.new_event_loop()
reactor = AsyncioSelectorReactor(loop)
installReactor(reactor)
serving = Deferred.fromFuture(loop.create_task(module.serve(*sys.argv[1:])))


def leave() -> Deferred[None]:
    """Let the module uninstall, answer and quit before the reactor stops."""
    module.stop()
    return serving


reactor.addSystemEventTrigger("before", "shutdown", leave)
reactor.run()
