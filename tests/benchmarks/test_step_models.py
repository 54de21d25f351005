"""Which campaigns forms of the step time are judged on."""

from __future__ import annotations

import pytest

from benchmarks import step_models
from sunsim.latency.profile import profiles_root
from sunsim.validation.folders import read_campaign


def test_a_campaign_without_a_run_of_any_shape_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = read_campaign(profiles_root() / "h200-141gb/actual-runs/host-j-llama-sessions")
    monkeypatch.setattr(step_models, "committed_campaigns", lambda: (campaign,))
    assert list(step_models.measured_campaigns()) == []
