#!/usr/bin/env python3
"""Has no channel: moves the call elsewhere, and hears of its end."""

from telling import read, say

call = read()
say(f"%%<message:{call[1]}:false:::callto=tone/busy:moved=yes")
say("%%>install:50:chan.hangup:id:dumb/1")
while fields := read():
    if fields[0] == "%%>message":
        say(f"%%<message:{fields[1]}:false:")
