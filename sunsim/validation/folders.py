"""Folders of records: worker runs with `campaign.yaml`, which says what each is, or live clusters with `cluster.yaml`.

Either says which profile simulates them, and which host they were made on.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sunsim.document.block import FolderName, Name
from sunsim.document.source import Source
from sunsim.document.text import read_text
from sunsim.errors import InputError
from sunsim.latency.profile import profiles_root
from sunsim.validation.cluster_run import ClusterRun, read_cluster_run
from sunsim.validation.record import BESIDE

CAMPAIGN = "campaign.yaml"
CLUSTER = "cluster.yaml"
RUN_SUFFIX = ".parquet"


class Plan(BaseModel):
    """What both files say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    profile: Name
    """A profile measured on the same host, best in the runs' engine start: a file, from this folder."""
    profile_host: Name | None = None
    """The label of the profile's host, where it is another one."""
    host: Name
    """A label: recorded facts (processor, memory) do not tell two hosts of one kind apart."""

    @property
    def profiled_on(self) -> str:
        """The label of the host that the profile was measured on."""
        return self.profile_host or self.host


class CampaignPlan(Plan):
    """The content of `campaign.yaml`."""

    purpose: Literal["reported", "calibration"]
    """Runs that the model was made with say nothing about how good it is, so they are never reported."""
    warmup_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds from the start of the streams that the throughput of arms leaves out."""
    runs: dict[FolderName, Name]
    """What each run is, by its file's name without `.parquet`."""
    arms: dict[Name, Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]] = Field(default_factory=dict)
    """Whole clusters, replayed worker by worker: the runs of each one's decode workers. The first is the one compared to."""


class ClusterPlan(Plan):
    """The content of `cluster.yaml`."""

    link: Name | None = None
    """Measured transfers, a file from this folder, where KV was moved."""


AnyPlan = TypeVar("AnyPlan", bound=Plan)


@dataclass(frozen=True, slots=True)
class _Folder(Generic[AnyPlan]):
    folder: Path
    plan: AnyPlan
    source: Source

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def profile(self) -> Path:
        """The profile's file."""
        return self.file(self.plan.profile)

    def file(self, name: str) -> Path:
        """A file that the plan names."""
        return Path(os.path.normpath(self.folder / name))


@dataclass(frozen=True, slots=True)
class Campaign(_Folder[CampaignPlan]):
    """A campaign of worker runs as read; its runs are not."""

    @property
    def runs(self) -> dict[str, Path]:
        """The runs' files by name, in the order of `campaign.yaml`."""
        return {name: self.folder / f"{name}{RUN_SUFFIX}" for name in self.plan.runs}


@dataclass(frozen=True, slots=True)
class Cluster(_Folder[ClusterPlan]):
    """The runs of a live cluster, the arms of a point one after the other."""

    runs: list[ClusterRun]

    @property
    def link(self) -> Path | None:
        """The file of the measured transfers."""
        return self.file(self.plan.link) if self.plan.link else None


def is_cluster(path: Path) -> bool:
    """Whether this is a folder of live runs."""
    return (path / CLUSTER).is_file()


def read_campaign(folder: Path) -> Campaign:
    """Reads and checks `campaign.yaml`.

    Raises:
        InputError: it cannot be read, something in it is wrong, or it and the folder's files do not go together.
    """
    plan, source = _read(folder / CAMPAIGN, CampaignPlan, ("profile",))
    campaign = Campaign(folder, plan, source)
    _check_files(campaign)
    _check_arms(campaign)
    return campaign


def read_cluster(folder: Path) -> Cluster:
    """Reads `cluster.yaml` and all runs.

    Raises:
        InputError: something in the folder is wrong; says where.
    """
    plan, source = _read(folder / CLUSTER, ClusterPlan, ("profile", "link"))
    files = _run_files(folder)
    if not files:
        message = "has no run, must have a Parquet file for each"
        raise InputError(message, folder)
    return Cluster(folder, plan, source, sorted(map(read_cluster_run, files), key=lambda run: run.place))


def committed_campaigns() -> list[Campaign]:
    """Those that are shipped, by name."""
    return [read_campaign(path.parent) for path in sorted(profiles_root().glob(f"*/actual-runs/*/{CAMPAIGN}"))]


def committed_clusters() -> list[Cluster]:
    """Those that are shipped, by name."""
    return [read_cluster(path.parent) for path in sorted(profiles_root().glob(f"*/actual-clusters/*/{CLUSTER}"))]


def errors_file(gpu: str) -> Path:
    """Where the errors of a card's committed runs are kept, in percent by ``campaign/run``; tests hold it up to date."""
    return profiles_root() / gpu / "actual-runs" / "errors.json"


def _read(path: Path, kind: type[AnyPlan], files: tuple[str, ...]) -> tuple[AnyPlan, Source]:
    """A plan, whose `files` are there."""
    source = Source.parsed(path, read_text(path, "must say what the folder's runs are"))
    try:
        plan = kind.model_validate(source.values())
    except ValidationError as error:
        faults = [source.explain(details) for details in error.errors(include_url=False)]
        raise min(faults, key=lambda fault: fault.line or 0) from error
    for key in files:
        name = getattr(plan, key)
        if name and not (path.parent / name).is_file():
            raise source.error((key,), f"{key} {name} is not there, must be a file")
    return plan, source


def _run_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob(f"*{RUN_SUFFIX}")) if not path.name.endswith(BESIDE)]


def _check_files(campaign: Campaign) -> None:
    error = campaign.source.error
    if not campaign.plan.runs:
        raise error(("runs",), "runs is empty, must name at least one run")
    for name, path in campaign.runs.items():
        if not path.is_file():
            raise error(("runs", name), f"runs.{name}: {path.name} is not in the folder, must be")
    for path in _run_files(campaign.folder):
        # A run that nobody lists is one that nobody sees.
        if path.stem not in campaign.plan.runs:
            raise error(("runs",), f"runs lacks {path.stem}, must name every run in the folder")


def _check_arms(campaign: Campaign) -> None:
    error = campaign.source.error
    for arm, workers in campaign.plan.arms.items():
        for i, worker in enumerate(workers):
            if worker not in campaign.plan.runs:
                known = ", ".join(campaign.plan.runs)
                raise error(("arms", arm, i), f"arms.{arm}: {worker} is no run, must be one of {known}")
            if worker in workers[:i]:
                raise error(("arms", arm, i), f"arms.{arm} has {worker} twice, must have each run once")
