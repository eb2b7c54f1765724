"""The other side of the wire: an engine to run modules on, without a telephone.

It must not import what speaks to an engine: module, link, call.
"""

from .engine import Engine
from .ladder import ladder
from .recording import Recording

__all__ = ["Engine", "Recording", "ladder"]
