#!/usr/bin/env python3
"""Does not take a call: declines it with a reason, or ends without an answer."""

import sys

from telling import read, say

call = read()
if sys.argv[1] == "declines":
    say(f"%%<message:{call[1]}:false:::reason=busy:error=engaged")
    read()
