"""The protocol without I/O: bytes in, frames out, and back.

Nothing below this folder imports asyncio, socket, os, time or logging; a test checks it.
"""
