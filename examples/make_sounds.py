"""Make what the other examples play: spoken by espeak-ng, and beeps where it is not installed.

    python examples/make_sounds.py /var/lib/sounds

The prompts are spoken in English (`apt install espeak-ng sox`); what is not English is music.
"""

import math
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from zlib import crc32

from yateway.language import Language

RATE = 8000  # samples a second, 16 bits each: what .slin is
PROMPTS = {
    "appointment": "We expect you tomorrow at nine.",
    "busy": "All lines are busy.",
    "confirm-menu": "To confirm press 1. To cancel press 2.",
    "enter-order": "Please enter the number of your order, and then the pound key.",
    "enter-pin": "Please enter your PIN.",
    "euros": "euros",
    "goodbye": "Goodbye.",
    "is-on-its-way": "is on its way to you.",
    "leave-a-message": "Please leave a message after the tone.",
    "menu": "For our opening hours press 1. For sales press 2. For your order press 3 1.",
    "message-menu": "To hear it again press 1. To keep it press 2. To delete it press 3.",
    "messages": "messages",
    "nobody-there": "Nobody is there to answer your call.",
    "not-available": "This choice is not available.",
    "opening-hours": "We are open from nine to five.",
    "order": "Order",
    "people-in-the-room": "Number of people in the room:",
    "room-is-full": "The room is full.",
    "thank-you": "Thank you.",
    "welcome": "Welcome.",
    "wrong-pin": "This PIN is wrong.",
    "you-have": "You have",
    "your-balance-is": "Your balance is",
    "your-place-is": "Your place in the queue is",
}


def beeps(*frequencies: float) -> bytes:
    """Return a short tone of each frequency, 0.3 s each."""
    samples = (math.sin(2 * math.pi * f * i / RATE) for f in frequencies for i in range(2400))
    return b"".join(struct.pack("<h", round(8000 * sample)) for sample in samples)


def speech(text: str) -> bytes:
    """Return a text as speech; a beep of its own where there is nobody to speak."""
    if not (shutil.which("espeak-ng") and shutil.which("sox")):
        return beeps(300 + crc32(text.encode()) % 1000)
    spoken = subprocess.run(["espeak-ng", "--stdout", text], check=True, capture_output=True)
    form = f"-r {RATE} -e signed -b 16 -c 1 -t raw -".split()
    sox = ["sox", "-t", "wav", "-", *form]
    return subprocess.run(sox, check=True, capture_output=True, input=spoken.stdout).stdout


def make(folder: Path) -> None:
    """Write all sounds below a folder."""
    english = Language.named("en")
    numbers = [*range(100), 100, 1000, 10**6, 10**9, -1]
    words = {file for number in numbers for file in english.number(number)}
    words.update(english.digits("0123456789*#"))
    (folder / "en").mkdir(parents=True, exist_ok=True)
    for name in words:
        (folder / name).write_bytes(speech(Path(name).stem))
    for name, text in PROMPTS.items():
        (folder / f"{name}.slin").write_bytes(speech(text))
    (folder / "music.slin").write_bytes(beeps(262, 330, 392, 523, 392, 330) * 2)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say which folder: python examples/make_sounds.py FOLDER")
    make(Path(sys.argv[1]))
