#!/usr/bin/env python3
"""Answers a call, plays a file to its end, takes keys, and leaves at the key 9."""

import sys

from telling import read, say

call = read()
say("%%>setlocal:id:scr/1")
say("%%>setlocal:disconnected:true")
say(f"%%<message:{call[1]}:true:::targetid=scr/1")
say("%%>message:answer:0:call.answered::id=scr/1:targetid=dumb/1")
say("%%>install:50:chan.dtmf:targetid:scr/1")
say("%%>install:50:chan.notify:targetid:scr/1")
say("%%>message:play:0:chan.attach::source=wave/play/short.slin:notify=scr/1:single=true")
while fields := read():
    if fields[0] == "%%>message":
        say(f"%%<message:{fields[1]}:true:")
        if "text=9" in fields:
            say("%%>setlocal:reason:lunch")
            sys.exit()
