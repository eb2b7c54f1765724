#!/usr/bin/env python3
"""Takes part in a call by fds 3 and 4: listens to as many bytes as it is told, says them again.

Its argument is the number of bytes, and what it does with them: hear, say, or both.
"""

import contextlib
import os
import sys

from telling import read, say, tell

count, does = sys.argv[1].split()
call = read()
say(f"%%<message:{call[1]}:true:::targetid=ExtModule")
heard = b""
if does != "say":
    while len(heard) < int(count):
        heard += os.read(3, int(count) - len(heard))
    tell(f"heard {len(heard)}")
if does != "hear":
    tell("speaks")
    with contextlib.suppress(BrokenPipeError):
        os.write(4, heard or bytes(int(count)))
while read():
    pass
