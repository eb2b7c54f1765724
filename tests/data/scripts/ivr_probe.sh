#!/bin/sh
# What the script of the recording ivr_stdio did: accept the call, ask, install, and wait for the end.
IFS=: read -r _ id _
printf '%%%%<message:%s:true::\n' "$id"
printf '%%%%>setlocal:id:\n%%%%>setlocal:disconnected:true\n%%%%>install:50:chan.dtmf\n'
while read -r _; do :; done
