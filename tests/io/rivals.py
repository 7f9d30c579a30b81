"""Two processes that write one output, over and over at the same moment."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Each round waits for its gate, and leaves the sentence of a refusal, or nothing.
ROUNDS = """
import sys, time
from pathlib import Path
from tvjax.io import FileError

folder, own, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
{prepare}
for number in range(rounds):
    (folder / f"ready_{{number}}_{{own}}").touch()
    while not (folder / f"gate_{{number}}").exists():
        time.sleep(0.0005)
    text = ""
    try:
        {write}
    except FileError as error:
        text = str(error)
    part = folder / f"part_{{number}}_{{own}}"
    part.write_text(text)
    part.rename(folder / f"done_{{number}}_{{own}}")
"""


def rounds(folder, number, prepare, write):
    """Yield which of two was refused in each round, and by what sentence.

    Args:
        folder: An empty folder.
        number: Number of rounds.
        prepare: Python that each process runs once; `own` is 0 or 1, `folder` a path.
        write: Python that writes the output of the round `number`.
    """
    code = ROUNDS.format(prepare=prepare, write=write)
    arguments = [str(folder), "{}", str(number)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, *(each.format(own) for each in arguments)],
            cwd=ROOT,
        )
        for own in (0, 1)
    ]
    try:
        for index in range(number):
            _wait(folder, f"ready_{index}_*", runs)
            (folder / f"gate_{index}").touch()
            texts = [
                file.read_text() for file in _wait(folder, f"done_{index}_*", runs)
            ]
            yield index, texts
        assert [each.wait() for each in runs] == [0, 0]
    finally:
        for each in runs:
            each.kill()
            each.wait()


def _wait(folder, pattern, runs):
    while len(found := sorted(folder.glob(pattern))) < 2:
        assert not any(each.poll() for each in runs), "a process failed"
        time.sleep(0.001)
    return found
