"""Campaigns: a folder of actual runs, the profile that simulates them, and `campaign.yaml`, which says what each run is."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sunsim.document.block import FolderName, Name
from sunsim.document.source import Loc, Source
from sunsim.document.text import read_text
from sunsim.errors import InputError
from sunsim.latency.profile import profiles_root
from sunsim.validation.actual import STEPS_SUFFIX

PLAN = "campaign.yaml"
RUN_SUFFIX = ".parquet"


class Plan(BaseModel):
    """The content of `campaign.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    profile: Name
    """A profile measured on the same host, best in the runs' engine start: a file, from this folder."""
    profile_host: Name | None = None
    """The label of the profile's host, where it is another one."""
    purpose: Literal["reported", "calibration"]
    """Runs that the model was made with say nothing about how good it is, so they are never reported."""
    host: Name
    """A label: recorded facts (processor, memory) do not tell two hosts of one kind apart."""
    warmup_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds from the start of the streams that the throughput of arms leaves out."""
    runs: dict[FolderName, Name]
    """What each run is, by its file's name without `.parquet`."""
    arms: dict[Name, Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]] = Field(default_factory=dict)
    """Whole clusters, replayed worker by worker: the runs of each one's decode workers. The first is the one compared to."""

    @property
    def profiled_on(self) -> str:
        """The label of the host that the profile was measured on."""
        return self.profile_host or self.host


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as read; its runs are not."""

    folder: Path
    plan: Plan
    source: Source

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def profile(self) -> Path:
        """The profile's file."""
        return Path(os.path.normpath(self.folder / self.plan.profile))

    @property
    def runs(self) -> dict[str, Path]:
        """The runs' files by name, in the order of `campaign.yaml`."""
        return {name: self.folder / f"{name}{RUN_SUFFIX}" for name in self.plan.runs}

    def error(self, loc: Loc, message: str) -> InputError:
        """`message`, at the line of `loc`."""
        return self.source.error(loc, message)


def read_campaign(folder: Path) -> Campaign:
    """Reads and checks `campaign.yaml`.

    Raises:
        InputError: it cannot be read, something in it is wrong, or it and the folder's files do not go together.
    """
    path = folder / PLAN
    source = Source(path, read_text(path, "must say what the folder's runs are"))
    try:
        plan = Plan.model_validate(source.values())
    except ValidationError as error:
        faults = [source.explain(details) for details in error.errors(include_url=False)]
        raise min(faults, key=lambda fault: fault.line or 0) from error
    campaign = Campaign(folder, plan, source)
    _check_files(campaign)
    _check_arms(campaign)
    return campaign


def committed_campaigns() -> list[Campaign]:
    """Those that are shipped, by name."""
    return [read_campaign(path.parent) for path in sorted(profiles_root().glob(f"*/actual-runs/*/{PLAN}"))]


def errors_file(gpu: str) -> Path:
    """Where the errors of a card's committed runs are kept, in percent by ``campaign/run``; tests hold it up to date."""
    return profiles_root() / gpu / "actual-runs" / "errors.json"


def _check_files(campaign: Campaign) -> None:
    if not campaign.profile.is_file():
        raise campaign.error(("profile",), f"profile {campaign.plan.profile} is not there, must be a file")
    if not campaign.plan.runs:
        raise campaign.error(("runs",), "runs is empty, must name at least one run")
    for name, path in campaign.runs.items():
        if not path.is_file():
            raise campaign.error(("runs", name), f"runs.{name}: {path.name} is not in the folder, must be")
    for path in sorted(campaign.folder.glob(f"*{RUN_SUFFIX}")):
        # A run that nobody lists is one that nobody sees.
        if not path.name.endswith(STEPS_SUFFIX) and path.stem not in campaign.plan.runs:
            raise campaign.error(("runs",), f"runs lacks {path.stem}, must name every run in the folder")


def _check_arms(campaign: Campaign) -> None:
    for arm, workers in campaign.plan.arms.items():
        for i, worker in enumerate(workers):
            if worker not in campaign.plan.runs:
                known = ", ".join(campaign.plan.runs)
                raise campaign.error(("arms", arm, i), f"arms.{arm}: {worker} is no run, must be one of {known}")
            if worker in workers[:i]:
                raise campaign.error(("arms", arm, i), f"arms.{arm} has {worker} twice, must have each run once")
