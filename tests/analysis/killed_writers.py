"""Kill writers of one result at random moments, while others read it: `python -m tests.analysis.killed_writers 100`.

Whatever was reported as written must be found, whole, or what was being written when the kill came; readers must always
find something, and all of it of one write.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jaxdm.analysis import storage

CONFIG = {"seed": 0}
READERS = 2


def write(root: Path, number: int) -> Path:
    """Store a number, in every entry of an array that takes several writes to the disk."""
    metrics = {"number": number, "same": storage.named(np.full((300, 100), number), row=None, column=None)}
    return storage.write_result(root, "killed", CONFIG, metrics, "python -m tests.analysis.killed_writers")


def read(root: Path) -> int:
    """The number stored, after a look at all entries."""
    (result,) = storage.read_results(root, "killed")
    number = int(result.metrics["number"])
    assert np.all(result.metrics["same"] == number), "a mixture of two writes"
    return number


def writer(root: Path, first: int, told: int) -> None:
    """Write numbers from `first` on until killed, telling each one when it is done."""
    number = first
    while True:
        write(root, number)
        os.write(told, number.to_bytes(8, "little"))
        number += 1


def reader(root: Path, told: int) -> None:
    """Read until told to stop, then tell how often."""
    going, reads = True, 0

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    while going:
        read(root)
        reads += 1
    os.write(told, reads.to_bytes(8, "little"))


def child(work, *arguments) -> tuple[int, int]:
    """A process of its own that works; its id, and where it tells numbers."""
    here, there = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            work(*arguments, there)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    os.close(there)
    return process, here


def last(told: int) -> int | None:
    """The last whole number that a process told before it ended."""
    with os.fdopen(told, "rb") as pipe:
        text = pipe.read()
    whole = len(text) // 8 * 8
    return int.from_bytes(text[whole - 8 : whole], "little") if whole else None


def main(kills: int, root: Path, seed: int = 0) -> str:
    """Kill so many writers one after the other; what was found, in one line.

    Raises:
        AssertionError: a result was lost, mixed, or not there.
    """
    rng = random.Random(seed)
    write(root, 0)
    readers = [child(reader, root) for _ in range(READERS)]
    known = left = torn = 0
    for _ in range(kills):
        process, told = child(writer, root, known + 1)
        time.sleep(rng.uniform(0, 0.2))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        reported = last(told) or known
        found = read(root)
        assert found in (reported, reported + 1), f"{found} is stored; expected {reported} or the next"
        left += any(path.name.startswith(".") for path in (root / "killed" / storage.config_hash(CONFIG)).iterdir())
        torn += found > reported
        known = found
    for process, _ in readers:
        os.kill(process, signal.SIGTERM)
        assert os.waitpid(process, 0)[1] == 0, "a reader failed"
    reads = sum(last(told) or 0 for _, told in readers)
    path = write(root, known + 1)
    assert [file.name for file in path.iterdir()] == [storage.RESULT], "what the killed left is swept"
    return (
        f"{kills} kills, {known} writes, {left} left a part, {torn} came after the rename; {reads} reads, none failed"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(main(int(sys.argv[1]), Path(folder)))
