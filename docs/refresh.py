"""Brings the figures of the documents up to date: ``python -m docs.refresh [NAME ...]``, or all.

Names are those of `PARTS`. Runs the commands that the pages name, in the checkout, compares the committed actual runs with
their simulation, and replaces the pictures and the blocks between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from docs.accuracy import accuracy
from docs.adapters import adapters
from docs.blocks import DOCS, PLACES, ROOT, beginning, replaced
from docs.columns import columns
from docs.fidelity import Checked, check
from docs.fidelity_tables import fidelity_text, live_text, sharing_text
from docs.outside import outside
from docs.trust import trust
from sunsim.program import MISSED
from sunsim.validation.check import check_cluster
from sunsim.validation.folders import committed_campaigns, committed_clusters

PICTURE = DOCS / "zipf3.png"
FIGURES = ("claims", "zipf", "rivals")
"""Those of `sunsim figures` that the pages show."""
ELASTIC_PICTURE = DOCS / "elastic.png"
SESSION_PICTURES = {"history": DOCS / "sessions.png", "prefillshare": DOCS / "prefillshare.png"}
"""Of the benchmarks of sessions that draw one."""
WIDTH = 120
"""Columns of what commands print."""
TRACE = "scenarios/traces/azure-conv-2000.csv"
BENCH = "profiles/h200-141gb/actual-runs/served/open-12rps.json"


def _output(*command: str, code: int = 0) -> str:
    env = {**os.environ, "COLUMNS": str(WIDTH)}
    command = (sys.executable, *command)
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != code:
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout


def _sunsim(*arguments: str, code: int = 0) -> str:
    return _output("-c", "from sunsim.cli import app; app()", *arguments, code=code)


def run() -> dict[str, str]:
    """What `sunsim run scenarios/zipf3.yaml` prints; copies the picture."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "zipf3"
        printed = _sunsim("run", "scenarios/zipf3.yaml", "--out", str(out)).replace(str(out), "results/zipf3")
        shutil.copy(out / "throughput.png", PICTURE)
    return {"run": printed, "run-short": beginning(printed, 2)}


def changing() -> dict[str, str]:
    """The beginning of what `sunsim run scenarios/changing.yaml` prints."""
    with tempfile.TemporaryDirectory() as folder:
        return {"changing": beginning(_sunsim("run", "scenarios/changing.yaml", "--out", f"{folder}/changing"), 3)}


def compare() -> dict[str, str]:
    """What `sunsim compare` prints of zipf3 and of the same with a GPU less."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = f"{folder}/before", f"{folder}/after"
        _sunsim("run", "zipf3", "--quiet", "--out", before)
        _sunsim("run", "zipf3", "--quiet", "--out", after, "--set", "arms.sun.decode.workers=3")
        return {"compare": _sunsim("compare", before, after)}


def trace() -> dict[str, str]:
    """What `sunsim trace describe` prints of the shipped trace."""
    return {"trace": _sunsim("trace", "describe", TRACE)}


def server() -> dict[str, str]:
    """What `sunsim validate` prints of a recorded result of a server, which misses targets."""
    return {"server": _sunsim("validate", BENCH, "--profile", "h200-141gb/llama-3.1-8b-bf16", code=MISSED)}


def sweep() -> dict[str, str]:
    """What `sunsim sweep scenarios/sweep-rates.yaml` prints."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/sweep-rates"
        printed = _sunsim("sweep", "scenarios/sweep-rates.yaml", "--out", out)
    return {"sweep": printed.replace(out, "results/sweep-rates")}


def plan() -> dict[str, str]:
    """What `sunsim plan` prints of a shipped scenario, of the page's own, and of the shipped log."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/plan-zipf"
        printed = _sunsim("plan", "scenarios/plan-zipf.yaml", "--out", out).replace(out, "results/plan-zipf-plan")
        own = write_example(Path(folder))
        csv = beginning(_sunsim("plan", str(own), "--out", f"{folder}/own"), 3)
        requests = beginning(_sunsim("plan", "examples/requests.csv", "--out", f"{folder}/requests"), 3)
        return {"plan": printed, "plan-csv": csv, "plan-requests": requests}


def plan_day() -> dict[str, str]:
    """How `sunsim plan scenarios/plan-day.yaml` begins."""
    with tempfile.TemporaryDirectory() as folder:
        return {"plan-day": beginning(_sunsim("plan", "scenarios/plan-day.yaml", "--out", f"{folder}/plan-day"), 4)}


def write_example(folder: Path) -> Path:
    """Writes the scenario of plan.md, and the csv that it reads, into a folder; returns the scenario's path."""
    shutil.copy(ROOT / TRACE, folder / "requests.csv")
    (example,) = re.findall(
        r"```yaml\n(name: my-models\n.*?)```", PLACES["plan-csv"].read_text(encoding="utf-8"), re.DOTALL
    )
    file = folder / "my-models.yaml"
    file.write_text(example, encoding="utf-8")
    return file


def figures() -> dict[str, str]:
    """What `sunsim figures` prints; copies three figures. Simulated points stay in the results folder."""
    out = "results/figures"
    printed = _sunsim("figures", "--out", out)
    for name in FIGURES:
        _keep_small(ROOT / out / f"{name}.png", DOCS / f"{name}.png")
    return {"claims": printed}


def _keep_small(picture: Path, place: Path) -> None:
    """A palette makes small files."""
    Image.open(picture).convert("RGB").quantize(256).save(place)


def sessions() -> dict[str, str]:
    """What the benchmarks of sessions print; draws their figures."""
    printed = {}
    for name, picture in SESSION_PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            drawn = Path(folder) / picture.name
            printed[name] = _output("-m", f"benchmarks.sessions.{name}", str(drawn))
            _keep_small(drawn, picture)
    return printed


def speed() -> dict[str, str]:
    """What the benchmark prints, of the loop as pip installs it and of the plain one."""
    return {"speed": _output("-m", "benchmarks.loop"), "speed-plain": _output("-m", "benchmarks.loop", "--plain")}


def elastic() -> dict[str, str]:
    """What the benchmarks of elastic pools print; draws the day, which takes minutes."""
    with tempfile.TemporaryDirectory() as folder:
        _sunsim("run", "elastic-day", "--quiet", "--out", folder)
        _keep_small(Path(folder) / ELASTIC_PICTURE.name, ELASTIC_PICTURE)
    return {
        "elastic-day": _output("-m", "benchmarks.elastic.day"),
        "llm-d": _output("-m", "benchmarks.elastic.llm_d"),
        "tokenscale": _output("-m", "benchmarks.elastic.tokenscale"),
    }


def speculative() -> dict[str, str]:
    """What the benchmarks of drafts print; draws their figure."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "speculative.png"
        printed = {"drafts-load": _output("-m", "benchmarks.drafts.load", str(drawn))}
        _keep_small(drawn, DOCS / drawn.name)
    others = ("steps", "shared", "beside", "by_batch", "published")
    return printed | _benchmarks(**{f"drafts-{name.replace('_', '-')}": f"drafts.{name}" for name in others})


def accuracy_page() -> dict[str, str]:
    """What the committed accuracy files of the experiment say; draws its pictures."""
    with tempfile.TemporaryDirectory() as folder:
        blocks = accuracy(Path(folder))
        for drawn in Path(folder).iterdir():
            _keep_small(drawn, DOCS / drawn.name)
    return blocks


def fidelity() -> dict[str, str]:
    """The committed actual runs against their simulation."""
    live = [check_cluster(cluster) for cluster in committed_clusters()]
    return fidelity_blocks(check(committed_campaigns())) | {"live": live_text(live)}


def fidelity_blocks(checked: Sequence[Checked]) -> dict[str, str]:
    """Tables of the campaigns; those for calibration have one of their own, and never count in the README."""
    reported = [each for each in checked if each.campaign.plan.purpose == "reported"]
    calibration = [each for each in checked if each.campaign.plan.purpose == "calibration"]
    table = fidelity_text(reported)
    return {
        "fidelity": table,
        "sharing": sharing_text(reported),
        "calibration": fidelity_text(calibration),
        "trust": trust(table),
    }


def _benchmarks(**modules: str) -> dict[str, str]:
    """What benchmarks print, by the block that shows it."""
    return {name: _output("-m", f"benchmarks.{module}") for name, module in modules.items()}


PARTS: dict[str, Callable[[], dict[str, str]]] = {
    "run": run,
    "changing": changing,
    "compare": compare,
    "trace": trace,
    "server": server,
    "sweep": sweep,
    "plan": plan,
    "plan-day": plan_day,
    "figures": figures,
    "sessions": sessions,
    "speed": speed,
    "ppd": partial(_benchmarks, ppd="sessions.ppd"),
    "routers": partial(_benchmarks, routers="elastic.routers"),
    "elastic": elastic,
    "speculative": speculative,
    "fidelity": fidelity,
    "candidates": partial(_benchmarks, candidates="step_models"),
    "estimates": partial(_benchmarks, estimates="estimates"),
    "outside": outside,
    "columns": columns,
    "adapters": adapters,
    "accuracy": accuracy_page,
}
"""What makes blocks anew, by the name on the command line; all are named in development.md."""


def main() -> None:
    """Replaces the blocks of the parts named on the command line, or of all."""
    for part in sys.argv[1:] or PARTS:
        for name, made in PARTS[part]().items():
            content = "".join(f"{line.rstrip()}\n" for line in made.splitlines())
            text = PLACES[name].read_text(encoding="utf-8")
            PLACES[name].write_text(replaced(text, name, content), encoding="utf-8")


if __name__ == "__main__":
    main()
