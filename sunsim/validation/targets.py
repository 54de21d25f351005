"""How far off the simulator may be: its targets, which depend on whether profile and run come from one host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from sunsim.errors import InputError
from sunsim.latency.profile import Profile
from sunsim.roles import Role
from sunsim.validation.worker_figures import ROUNDS
from sunsim.validation.worker_run import RunMeta

Relation: TypeAlias = Literal["same engine start", "same host", "other host"]


class Target(NamedTuple):
    """The most that a figure may be off either way, in percent, a share in percentage points.

    `of`: the workers that it is set for, by what `Role` says of them.
    """

    one_host: float
    other_host: float
    of: Literal["decodes", "prefills"]


TARGETS = {
    "mean_tpot_ms": Target(1, 3, "decodes"),
    "median_tpot_ms": Target(1, 3, "decodes"),
    "p99_tpot_ms": Target(2, 6, "decodes"),
    "saturated_output_throughput": Target(1, 3, "decodes"),
    "saturated_mean_queueing_ms": Target(10, 10, "decodes"),
    "mean_ttft_ms": Target(5, 5, "prefills"),
    "p99_ttft_ms": Target(10, 10, "prefills"),
    **{f"{name}_mean_ttft_ms": Target(5, 5, "prefills") for name in ROUNDS},
    "cached_share": Target(1, 1, "prefills"),
}

DRAFTED = TARGETS | {
    "mean_tpot_ms": Target(2, 3, "decodes"),
    "median_tpot_ms": Target(2, 3, "decodes"),
    "output_throughput": Target(2, 3, "decodes"),
    "saturated_output_throughput": Target(2, 3, "decodes"),
    "mean_acceptance_length": Target(1, 1, "decodes"),
}
"""The same of runs with drafts, where what is accepted is drawn on both sides."""

TARGETED = tuple(dict.fromkeys((*TARGETS, *DRAFTED)))
"""Every figure that some run has a target for."""


def targets_of(*, drafts: bool) -> Mapping[str, Target]:
    """The targets of runs with drafts, or of others."""
    return DRAFTED if drafts else TARGETS


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far figures may be off.

    Attributes:
        stated: percent by figure, over the targets.
        use_targets: whether the targets hold for the others.
    """

    stated: Mapping[str, float] = field(default_factory=dict)
    use_targets: bool = True

    def of(self, tag: str, role: Role, relation: Relation, *, drafts: bool = False) -> float | None:
        """The percentage that a figure may be off; None where none is set.

        Args:
            tag: of the figure.
            role: what the worker does.
            relation: where the profile comes from, as seen from the run.
            drafts: whether the worker drafts.
        """
        if tag in self.stated:
            return self.stated[tag]
        target = targets_of(drafts=drafts).get(tag) if self.use_targets else None
        if target is None or not getattr(role, target.of):
            return None
        return target.other_host if relation == "other host" else target.one_host


TARGETS_ALONE = Tolerances()


def parse_tolerances(given: Sequence[str], known: Sequence[str]) -> Tolerances:
    """What ``--tolerance`` says.

    Raises:
        InputError: one is not `METRIC=PERCENT` with a known metric and a percentage of at least 0, nor `none`.
    """
    stated: dict[str, float] = {}
    for text in given:
        if text == "none":
            continue
        name, equals, value = text.partition("=")
        if name not in known or not equals:
            message = f"'{text}' must be none or METRIC=PERCENT with one of {', '.join(known)}"
            raise InputError(message, "--tolerance")
        try:
            percent = float(value)
        except ValueError:
            percent = -1.0
        if not 0 <= percent < float("inf"):
            message = f"{name} is '{value}', must be a percentage of at least 0"
            raise InputError(message, "--tolerance")
        stated[name] = percent
    return Tolerances(stated, "none" not in given)


def relation_to_profile(meta: RunMeta, profile: Profile) -> Relation:
    """Whether the profile was measured in the run's engine start, or on its host, as far as both say."""
    extra = profile.data.model_extra or {}
    if meta.profile and meta.profile.sha256 in {profile.sha256, profile.data.measured_sha256}:
        return "same engine start"
    return relation((meta.engine_start, meta.host), (extra.get("engine_start"), profile.data.host))


def relation(one: tuple[Any, Any], other: tuple[Any, Any]) -> Relation:
    """What two (engine start, host) have in common; a host is its recorded facts, and what is not known is another."""
    (start, host), (other_start, other_host) = one, other
    if start is not None and start == other_start:
        return "same engine start"
    if isinstance(host, dict) and isinstance(other_host, dict):
        common = host.keys() & other_host.keys()
        if common and all(host[key] == other_host[key] for key in common):
            return "same host"
    return "other host"
