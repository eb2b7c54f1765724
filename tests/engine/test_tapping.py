"""A module's own recording shows what it said and heard."""

from __future__ import annotations

from pathlib import Path

from yateway import Message, Module
from yateway.engine import Engine, Recording
from yateway.engine.recording import RecordingFile
from yateway.engine.tapping import tapped


async def test_a_module_is_recorded_as_the_engine_would_record_it() -> None:
    """Both sides of a connection see the same lines in the same order."""
    module = Module("taped")

    @module.handler("call.route")
    def route(message: Message) -> str:
        return "sip/caf\udce9:\n"

    theirs, ours = Recording(), Recording()
    async with Engine(record=theirs) as engine:
        await module.attach(tapped(engine.open, ours))
        await engine.dispatch("call.route", called="1")
        engine.drop()
        await module.detach()
    for direction in "AE":
        lines = [
            [e.line for e in recording.entries if e.direction == direction and not e.event]
            for recording in (ours, theirs)
        ]
        assert lines[0] == lines[1] != []
    events = [entry.event for entry in ours.entries if entry.event]
    assert events == ["connect memory:", "closed"]


async def test_the_end_is_noted_once() -> None:
    """Whoever asks again still gets the end."""
    recording = Recording()
    async with Engine() as engine:
        transport = await tapped(engine.open, recording)()
        await transport.drain()
        await transport.close()
        assert await transport.receive() == b""
        assert await transport.receive() == b""
    assert [entry.event for entry in recording.entries] == ["connect memory:", "closed"]


async def test_a_recording_in_a_file_keeps_nothing_in_memory(tmp_path: Path) -> None:
    """Each line is there as soon as it passed, in the format that `from_file` reads."""
    path = tmp_path / "growing.jsonl"
    with path.open("w", buffering=1) as file:
        recording = RecordingFile(file)
        async with Engine(record=recording) as engine:
            transport = await engine.open()
            transport.write(b"%%>connect:global\n%%>setlocal:timeout:\n")
            await transport.receive()
            assert recording.entries == []
            assert len(path.read_text().splitlines()) == 4
            transport.abort()
    lines = [entry.line for entry in Recording.from_file(path).entries]
    assert lines[1:4] == [
        "%%>connect:global",
        "%%>setlocal:timeout:",
        "%%<setlocal:timeout:10000:true",
    ]
