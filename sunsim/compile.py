"""A faster copy of the simulator: ``python -m sunsim.compile DIR``, then ``PYTHONPATH=DIR`` before any command.

The modules of the simulation loop are compiled by mypyc from the very same source; everything else is copied. Needs a C
compiler and mypy. The copy is a build product: after a change of the source, make it anew. Nothing else is touched.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from sunsim.latency.profile import profiles_root

WORKER = "sequence kv_blocks outcome steady stalls pipeline draft engine_config engine worker"
CLUSTER = "events arrivals router routes load_report link journey world"
MODULES = ("sunsim/latency/steps.py", *(f"sunsim/cluster/{name}.py" for name in f"{WORKER} {CLUSTER}".split()))


def compile_into(folder: Path) -> None:
    """Copies the package into `folder`, which must not exist, and compiles the loop's modules there.

    Raises:
        subprocess.CalledProcessError: mypyc or the C compiler failed; its output says why.
    """
    package = Path(__file__).parent
    shutil.copytree(package, folder / "sunsim", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    if not profiles_root().is_relative_to(package):  # a checkout
        shutil.copytree(profiles_root(), folder / "profiles")
    command = [sys.executable, "-m", "mypyc", "--strict", "--follow-imports=silent", *MODULES]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    shutil.rmtree(folder / "build")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m sunsim.compile DIR\n")
        return 2
    folder = Path(arguments[0])
    if folder.exists():
        sys.stderr.write(f"{folder} is there already, must be a new folder\n")
        return 2
    try:
        compile_into(folder)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error.stdout}{error.stderr}")
        return 1
    sys.stdout.write(f"compiled {len(MODULES)} modules; use them with PYTHONPATH={folder.resolve()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
