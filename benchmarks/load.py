"""A peer without limits that plays the engine: it keeps messages outstanding and counts answers.

It must not be the limit: lines are made up before, and answers are counted, not read. Only the
first and the last answer are checked, so that a subject that answers nonsense is not measured.

Run as `python -m benchmarks.load KIND PARAMS SECONDS`. It prints the port it listens on, then
"measuring" when the warm-up is over, then the messages a second as JSON. The kinds:

    handle    requests, 256 outstanding
    large     requests of 60 kB, 16 outstanding
    dispatch  the subject sends messages and keeps 256 outstanding; each is answered
    notify    notifications of a watched message, and one request in 64 that keeps the pace
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable

OUTSTANDING = 256
#: Distinct request ids; far more than are ever outstanding.
IDS = 16_384
#: Seconds before the measurement, and after which a silent subject is given up.
WARM_UP = 0.5
PATIENCE = 10.0
#: Notifications for each request.
TOLD = 63

REQUEST = "%%>message:0x7f25bbd74c60.{id}:1700000000:call.route:{params}\n"
NOTIFICATION = "%%<message::true:call.answered:{params}\n"


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


class Load:
    """One subject under load: counts messages between the end of the warm-up and the end."""

    def __init__(self, peer: socket.socket, seconds: float) -> None:
        self._peer = peer
        self._seconds = seconds
        self._done = 0

    def set_up(self) -> bytes:
        """Reply to the subject's set-up; return what came after it."""
        data = b""
        installed = False
        while not installed:
            data += self._receive()
            *lines, data = data.split(b"\n")
            for line in lines:
                installed |= line.startswith(b"%%>install:")
                self._peer.sendall(reply_to(line))
        return data

    def run(self, step: Callable[[bytes], int]) -> dict[str, float]:
        """Hand each read to `step`, which returns how many messages it finished."""
        started = time.perf_counter()
        warm = 0.0
        while (now := time.perf_counter()) - started < self._seconds + WARM_UP:
            if not warm and now - started > WARM_UP:
                warm, self._done = now, 0
                print("measuring", flush=True)
            self._done += step(self._receive())
        return {"messages": self._done, "rate": self._done / (time.perf_counter() - warm)}

    def _receive(self) -> bytes:
        data = self._peer.recv(1 << 18)
        if not data:
            raise SystemExit("the subject went away")
        return data

    # What the subject does

    def handle(self, params: int, outstanding: int = OUTSTANDING) -> dict[str, float]:
        """Ask, and ask again for each answer."""
        self.set_up()
        text = params_of(params)
        ids = max(IDS * 8 // params, outstanding) if params > 100 else IDS
        requests = [REQUEST.format(id=id, params=text).encode() for id in range(ids)]
        ring = requests + requests[:outstanding]
        self._peer.sendall(b"".join(ring[:outstanding]))
        place = outstanding
        first = last = b""

        def step(data: bytes) -> int:
            nonlocal place, first, last
            count = data.count(b"\n")
            if b"\n" not in first:
                # An answer that repeats all of a long question comes in pieces.
                first += data
            if count > 1:
                last = data
            self._peer.sendall(b"".join(ring[place : place + count]))
            place = (place + count) % ids
            return count

        result = self.run(step)
        check(first.partition(b"\n")[0])
        # Between two line feeds there is a whole answer.
        check(*last.split(b"\n")[-2:-1])
        return result

    def large(self, params: int) -> dict[str, float]:
        """Ask with 60 kB."""
        return self.handle(params, outstanding=16)

    def notify(self, params: int) -> dict[str, float]:
        """Tell of messages; a request behind each batch tells when the subject has taken it in."""
        self.set_up()
        text = params_of(params)
        batch = NOTIFICATION.format(params=text).encode() * TOLD
        requests = [REQUEST.format(id=id, params=text).encode() for id in range(64)]
        # One batch is worked on, one under way, and one is ready.
        self._peer.sendall(b"".join(batch + request for request in requests[:3]))
        place = 3

        def step(data: bytes) -> int:
            nonlocal place
            count = data.count(b"%%<message:")
            for _ in range(count):
                self._peer.sendall(batch + requests[place % 64])
                place += 1
            return count * TOLD

        return self.run(step)

    def dispatch(self, params: int) -> dict[str, float]:
        """Answer whatever the subject sends."""
        rest = self.set_up()
        tail = f":true:call.route:sip/1{params_of(params)}\n".encode()

        def step(data: bytes) -> int:
            nonlocal rest
            *lines, rest = (rest + data).split(b"\n")
            answers = [
                b"%%<message:" + line.split(b":", 2)[1] + tail
                for line in lines
                if line.startswith(b"%%>message:")
            ]
            self._peer.sendall(b"".join(answers))
            return len(answers)

        return self.run(step)


def check(*answers: bytes) -> None:
    """End the program if one of these is not the answer that all subjects are to give."""
    for answer in answers:
        if not all(part in answer for part in (b":true:", b"param1=value1")):
            raise SystemExit(f"no good answer: {answer[:200]!r}")


def serve(work: Callable[[socket.socket], dict[str, float]]) -> None:
    """Print a port, hand the subject that connects to it to `work`, and print the figures."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        server.settimeout(PATIENCE)
        peer, _ = server.accept()
    with peer:
        peer.settimeout(PATIENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            print(json.dumps(work(peer)), flush=True)
        except (BrokenPipeError, ConnectionResetError):
            raise SystemExit("the subject went away") from None


def main() -> None:
    """Serve one subject."""
    kind, params, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    serve(lambda peer: getattr(Load(peer, seconds), kind)(params))


if __name__ == "__main__":
    main()
