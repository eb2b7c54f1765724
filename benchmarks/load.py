"""A peer without limits that plays the engine: it keeps requests outstanding and counts answers.

It must not be the limit: requests are made up before, and answers are counted, not read. Only the
first and the last answer are checked, so that a subject that answers nonsense is not measured.
"""

from __future__ import annotations

import json
import socket
import sys
import time

OUTSTANDING = 256
#: Distinct request ids; far more than are ever outstanding.
IDS = 16_384

REQUEST = "%%>message:0x7f25bbd74c60.{id}:1700000000:call.route:{params}\n"


def params_of(count: int) -> str:
    """Return `count` parameters such as a SIP call has, about 25 or 55 bytes each."""
    known = {
        "id": "sip/46",
        "module": "sip",
        "status": "incoming",
        "billid": "1700000000-46",
        "caller": "100",
        "called": "123",
        "address": "127.0.0.1%z5060",
        "answered": "false",
    }
    extra = {
        f"osip_X-Header-{number}": f"some longer text of a header with number {number}"
        for number in range(count - len(known))
    }
    return "".join(f":{name}={value}" for name, value in (known | extra).items())


def reply_to(line: bytes) -> bytes:
    """Return the engine's reply to a line of the set-up."""
    keyword, _, rest = line.partition(b":")
    if keyword == b"%%>setlocal":
        value = rest.partition(b":")[2]
        return b"%%<setlocal:" + rest + (b"10000" if not value else b"") + b":true\n"
    if keyword in (b"%%>install", b"%%>watch"):
        return b"%%<" + keyword[3:] + b":" + rest + b":true\n"
    return b""


def run(params: int, seconds: float) -> dict[str, float]:
    """Serve one subject and return how many answers it gave in a second."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        peer, _ = server.accept()
    with peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _set_up(peer)
        return _measure(peer, params, seconds)


def _set_up(peer: socket.socket) -> None:
    data = b""
    installed = False
    while not installed:
        data += peer.recv(65536)
        *lines, data = data.split(b"\n")
        for line in lines:
            installed |= line.startswith(b"%%>install")
            peer.sendall(reply_to(line))


def _measure(peer: socket.socket, params: int, seconds: float) -> dict[str, float]:
    text = params_of(params)
    requests = [REQUEST.format(id=id, params=text).encode() for id in range(IDS)]
    ring = requests + requests[:OUTSTANDING]
    peer.sendall(b"".join(ring[:OUTSTANDING]))
    place, done = OUTSTANDING, 0
    started = warm = time.perf_counter()
    first = last = b""
    while (now := time.perf_counter()) - started < seconds + 0.5:
        if warm == started and now - started > 0.5:
            warm, done = now, 0
        data = peer.recv(1 << 18)
        if not data:
            raise SystemExit("the subject went away")
        count = data.count(b"\n")
        done += count
        first = first or data.partition(b"\n")[0]
        last = data if count > 1 else last
        if count:
            peer.sendall(b"".join(ring[place : place + count]))
            place = (place + count) % IDS
    # Past a first line that may have been cut by the read.
    last = last.split(b"\n")[1]
    for answer in (first, last):
        if not all(part in answer for part in (b"%%<message:", b":true:", b"param1=value1")):
            raise SystemExit(f"no good answer: {answer[:200]!r}")
    return {"rate": done / (time.perf_counter() - warm)}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), float(sys.argv[2]))), flush=True)
