"""Hatchling with a build hook: a wheel's modules of the simulation loop are compiled by mypy's compiler and a C compiler.

The same source runs with and without: a wheel holds the plain modules too, and where there is no C compiler, or nobody
has Python's headers, only them, and a file that says why: pip hides what a build hook prints. `sunsim --version` says which loop
runs. An editable install is not compiled, and needs none of what compiles.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.build import *  # this module is the build backend
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
# Nearly all that these do is numpy's work, or reading.
LEFT_PLAIN = {"__init__", "batch_at", "pool", "simulation"}
NOT_COMPILED = "not_compiled.txt"
"""Why not, in a line; `sunsim/version.py` reads it."""
COMPILE = """
import os, sys
from mypyc.build import mypycify
from setuptools import Distribution

folder, *modules = sys.argv[1:]
options = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports", f"--cache-dir={folder}/cache"]
extensions = mypycify([*options, *modules], opt_level="1", debug_level="0", group_name="sunsim.loop", target_dir=folder)
command = Distribution({"name": "sunsim", "ext_modules": extensions}).get_command_obj("build_ext")
command.build_lib, command.build_temp, command.parallel = f"{folder}/made", f"{folder}/objects", True
command.ensure_finalized()
command.run()
sys.stdout.flush()
os._exit(0)  # tearing all of mypy down would take as long as compiling
"""


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:  # noqa: ARG001
    """Takes the place of hatchling's. Types of what the loop computes with must be known when it is compiled."""
    return ["mypy>=1.18,<3", "numpy>=2.0", "setuptools>=65", "simpy>=4.1"]


class CompiledLoop(BuildHookInterface[Any]):
    """Adds the compiled modules to the wheel where they can be made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is written."""
        if version == "editable":
            return
        self._folder = TemporaryDirectory()
        paths = [str(path.relative_to(ROOT)) for path in self.modules()]
        command = [sys.executable, "-c", COMPILE, self._folder.name, *paths]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            self.app.display_warning(f"{done.stdout}{done.stderr}\nsunsim's loop is not compiled: it runs, slower")
            why = Path(self._folder.name) / NOT_COMPILED
            why.write_text(f"{_reason(done)}\n", encoding="utf-8")
            build_data["force_include"][str(why)] = f"sunsim/{NOT_COMPILED}"
            return
        made = Path(self._folder.name) / "made"
        build_data["force_include"] |= {
            str(path): str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()
        }
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def modules(self) -> list[Path]:
        """What is compiled."""
        folders = (ROOT / "sunsim/cluster", ROOT / "sunsim/cluster/drafting")
        found = [path for folder in folders for path in sorted(folder.glob("*.py"))]
        plain = [path for path in found if path.stem not in LEFT_PLAIN]
        return [*plain, ROOT / "sunsim/latency/steps.py", ROOT / "sunsim/cluster/scaling/elastic_worker.py"]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Called when the wheel is there."""
        if version != "editable":
            self._folder.cleanup()


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The first error in what was printed: the C compiler's comes before that of its caller."""
    _, _, found = f"{done.stdout}\n{done.stderr}".partition("rror: ")
    return found.partition("\n")[0].strip() or f"exit code {done.returncode}"
