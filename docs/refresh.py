"""Brings the figures of the documents up to date: ``python -m docs.refresh [NAME ...]``, or all.

Names are run, trace, sweep, plan, figures, speed and fidelity. Runs the commands that the README names, in the
checkout, compares the committed actual runs with their simulation, and replaces the pictures and the blocks between
``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from sunsim.validation.check import check, check_cluster
from sunsim.validation.fidelity import fidelity_text, live_text, sharing_text
from sunsim.validation.folders import committed_campaigns, committed_clusters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sunsim.validation.check import Checked

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FIDELITY = ROOT / "docs" / "fidelity.md"
PICTURE = ROOT / "docs" / "zipf3.png"
FIGURES = ("claims", "zipf")
"""Those of `sunsim figures` that the README shows."""
WIDTH = 120
"""Columns of what commands print."""
SUNSIM = "from sunsim.cli import app; app()"

PLACES = {
    "run": README,
    "trace": README,
    "sweep": README,
    "plan": README,
    "claims": README,
    "speed": README,
    "speed-compiled": README,
    "fidelity": README,
    "sharing": README,
    "live": README,
    "calibration": FIDELITY,
}
"""The document of each block."""


def block(text: str, name: str) -> str:
    """The content of a marked block, without its fence."""
    found = re.search(_pattern(name), text, re.DOTALL)
    if not found:
        message = f"{PLACES.get(name, README)} has no block {name}"
        raise ValueError(message)
    return found[2]


def replaced(text: str, name: str, content: str) -> str:
    """`text` with another content in a marked block."""
    block(text, name)
    return re.sub(_pattern(name), lambda found: found[1] + content + found[3], text, flags=re.DOTALL)


def _pattern(name: str) -> str:
    return rf"(<!-- begin: {name} -->\n```text\n)(.*?)(```\n<!-- end: {name} -->)"


def _output(*command: str) -> str:
    env = {**os.environ, "COLUMNS": str(WIDTH)}
    return subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


def run() -> dict[str, str]:
    """What `sunsim run scenarios/zipf3.yaml` prints; copies the picture."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "zipf3"
        printed = _output(sys.executable, "-c", SUNSIM, "run", "scenarios/zipf3.yaml", "--out", str(out))
        shutil.copy(out / "throughput.png", PICTURE)
    return {"run": printed.replace(str(out), "results/zipf3")}


def trace() -> dict[str, str]:
    """What `sunsim trace describe` prints of the shipped trace."""
    return {"trace": _output(sys.executable, "-c", SUNSIM, "trace", "describe", "scenarios/traces/azure-conv-2000.csv")}


def sweep() -> dict[str, str]:
    """What `sunsim sweep scenarios/sweep-rates.yaml` prints."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "sweep-rates"
        printed = _output(sys.executable, "-c", SUNSIM, "sweep", "scenarios/sweep-rates.yaml", "--out", str(out))
    return {"sweep": printed.replace(str(out), "results/sweep-rates")}


def plan() -> dict[str, str]:
    """What `sunsim plan scenarios/plan-zipf.yaml` prints."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan-zipf"
        printed = _output(sys.executable, "-c", SUNSIM, "plan", "scenarios/plan-zipf.yaml", "--out", str(out))
    return {"plan": printed.replace(str(out), "results/plan-zipf-plan")}


def figures() -> dict[str, str]:
    """What `sunsim figures` prints; copies the README's figures. Simulated points stay in the results folder."""
    out = "results/figures"
    printed = _output(sys.executable, "-c", SUNSIM, "figures", "--out", out)
    for name in FIGURES:
        # A palette makes small files.
        Image.open(ROOT / out / f"{name}.png").convert("RGB").quantize(256).save(ROOT / "docs" / f"{name}.png")
    return {"claims": printed}


def speed() -> dict[str, str]:
    """What the benchmark prints, of the loop as it is and of the compiled one."""
    plain = _output(sys.executable, "-m", "benchmarks.loop")
    with tempfile.TemporaryDirectory() as folder:
        fast = str(Path(folder) / "fast")
        _output(sys.executable, "-m", "sunsim.compile", fast)
        compiled = _output(sys.executable, "-m", "benchmarks.loop", "--compiled", fast)
    return {"speed": plain, "speed-compiled": compiled.replace(fast, "fast")}


def fidelity() -> dict[str, str]:
    """The committed actual runs against their simulation."""
    live = [check_cluster(cluster) for cluster in committed_clusters()]
    return fidelity_blocks(check(committed_campaigns())) | {"live": live_text(live)}


def fidelity_blocks(checked: Sequence[Checked]) -> dict[str, str]:
    """Tables of the campaigns; those for calibration stand in the page on the method, never in the README."""
    reported = [each for each in checked if each.campaign.plan.purpose == "reported"]
    calibration = [each for each in checked if each.campaign.plan.purpose == "calibration"]
    return {
        "fidelity": fidelity_text(reported),
        "sharing": sharing_text(reported),
        "calibration": fidelity_text(calibration),
    }


def main() -> None:
    """Replaces the blocks named on the command line."""
    makers = {
        "run": run,
        "trace": trace,
        "sweep": sweep,
        "plan": plan,
        "figures": figures,
        "speed": speed,
        "fidelity": fidelity,
    }
    for maker in sys.argv[1:] or makers:
        for name, made in makers[maker]().items():
            content = "".join(f"{line.rstrip()}\n" for line in made.splitlines())
            text = PLACES[name].read_text(encoding="utf-8")
            PLACES[name].write_text(replaced(text, name, content), encoding="utf-8")


if __name__ == "__main__":
    main()
