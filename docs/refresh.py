"""Brings the README's figures up to date: ``python -m docs.refresh [run] [speed]``, both if none is named.

Runs the commands that the README names, in the checkout, and replaces the blocks between ``<!-- begin: NAME -->`` and
``<!-- end: NAME -->`` and the picture.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "zipf3.png"
SUNSIM = "from sunsim.cli import app; app()"


def block(text: str, name: str) -> str:
    """The content of a marked block, without its fence."""
    found = re.search(_pattern(name), text, re.DOTALL)
    if not found:
        message = f"{README} has no block {name}"
        raise ValueError(message)
    return found[2]


def replaced(text: str, name: str, content: str) -> str:
    """`text` with another content in a marked block."""
    block(text, name)
    return re.sub(_pattern(name), lambda found: found[1] + content + found[3], text, flags=re.DOTALL)


def _pattern(name: str) -> str:
    return rf"(<!-- begin: {name} -->\n```text\n)(.*?)(```\n<!-- end: {name} -->)"


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def run() -> str:
    """What `sunsim run scenarios/zipf3.yaml` prints; copies the picture."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "zipf3"
        printed = _output(sys.executable, "-c", SUNSIM, "run", "scenarios/zipf3.yaml", "--out", str(out))
        shutil.copy(out / "throughput.png", PICTURE)
    return printed.replace(str(out), "results/zipf3")


def speed() -> str:
    """What the benchmark prints."""
    return _output(sys.executable, "-m", "benchmarks.loop")


def main() -> None:
    """Replaces the blocks named on the command line."""
    blocks = {"run": run, "speed": speed}
    for name in sys.argv[1:] or blocks:
        content = "".join(f"{line.rstrip()}\n" for line in blocks[name]().splitlines())
        README.write_text(replaced(README.read_text(encoding="utf-8"), name, content), encoding="utf-8")


if __name__ == "__main__":
    main()
