"""Starting without a clone: `sunsim init`, and shipped scenarios by their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sunsim
from sunsim.errors import InputError
from sunsim.scenario.blocks import Document
from sunsim.scenario.shipped import find_scenario, list_scenarios, scenarios_root
from sunsim.start.listing import purpose
from sunsim.start.new import TEMPLATE
from tests.plan.small import invoke
from tests.scenario_files import SCENARIO, write_scenario

FEW = ("--set", "workload.duration_s=5", "--set", "measure.warmup_s=1")
QUICK = ("--set", "plan.seeds=1", "--set", "plan.sensitivity=false", "--set", "plan.budget.points=4")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sunsim.pictures.draw", lambda *_: None)
    return tmp_path


def test_init_writes_a_scenario_that_every_verb_takes(empty_folder: Path) -> None:
    code, stdout, stderr = invoke("init")
    assert (code, stderr) == (0, "")
    assert stdout.startswith("my-models.yaml is written: ")
    assert [path.name for path in empty_folder.iterdir()] == ["my-models.yaml"]
    assert invoke("check", "my-models.yaml")[1].startswith("ok: my-models: ")
    assert invoke("run", "my-models.yaml", "--quiet", *FEW)[0] == 0
    assert invoke("plan", "my-models.yaml", "--quiet", *FEW, *QUICK)[0] in {0, 3}
    assert Path("results/my-models/summary.json").is_file()
    assert Path("results/my-models-plan/plan.json").is_file()


@pytest.mark.parametrize("name", ["chat", "chat.yaml", "a b: 'c' #d", "1", "on", "ünï"])
def test_init_names_file_and_scenario_alike(name: str) -> None:
    assert invoke("init", name)[0] == 0
    stem = name.removesuffix(".yaml")
    assert sunsim.load(f"{stem}.yaml").name == stem


def test_init_never_overwrites(empty_folder: Path) -> None:
    file = empty_folder / "mine.yaml"
    file.write_text("name: precious\n")
    code, stdout, stderr = invoke("init", "mine")
    assert (code, stdout) == (2, "")
    assert stderr == "mine.yaml: is there already, must be a new file: another name, or move it away\n"
    assert file.read_text() == "name: precious\n"


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "x" * 101])
def test_init_refuses_what_is_no_name(name: str, empty_folder: Path) -> None:
    code, _, stderr = invoke("init", name)
    assert (code, stderr.count("\n")) == (2, 1)
    assert "must be of 1 to 100 characters" in stderr
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("key", Document.model_fields)
def test_the_template_explains_every_key(key: str) -> None:
    """Above the key, or above its line that is left out, stands a comment."""
    lines = TEMPLATE.read_text(encoding="utf-8").splitlines()
    (at, *_) = [i for i, line in enumerate(lines) if re.match(rf"(# )?{key}: ?", line)]
    above = lines[at - 1]
    assert above.startswith("# ")


def test_the_template_s_lines_that_are_left_out_are_right(empty_folder: Path) -> None:
    """With the # taken away each of them is checked; the trace has a file then."""
    (empty_folder / "requests.csv").write_text("arrival_s,prompt_tokens,output_tokens,model\n0,9,9,chat\n20,9,9,code\n")
    text = TEMPLATE.read_text(encoding="utf-8")
    left_out = re.findall(r"^# ((?:stop|transfer|first_token|sweep): .*)$", text, re.MULTILINE)
    assert len(left_out) == 4
    other = re.findall(r"^# ((?:models|workload): .*)$", text, re.MULTILINE)
    assert len(other) == 2
    (empty_folder / "all.yaml").write_text("\n".join([text, *left_out]))
    assert invoke("check", "all.yaml")[0] == 0
    replaced = [option for line in other for option in ("--set", line.replace(": ", "=", 1))]
    small = ("--set", "arms.isolated.decode.workers=2", "--set", "measure={}")
    assert invoke("check", "all.yaml", *replaced, *small, "--set", "sweep={seeds: 1}")[0] == 0


def test_a_shipped_scenario_goes_by_its_name() -> None:
    assert find_scenario(Path("zipf3")) == scenarios_root() / "zipf3.yaml"
    assert invoke("check", "zipf3")[1].startswith("ok: zipf3: 7,104 requests")
    assert invoke("check", "h200/chat")[1].startswith("ok: h200-chat: ")
    assert sunsim.load("decode-trace").name == "decode-trace"  # its trace lies beside it
    assert invoke("split", "real-decode", "--out", "streams", *FEW)[0] == 0
    assert invoke("sweep", "sweep-rates", "--quiet", *FEW, "--set", "sweep={seeds: 1}", "--jobs", 1)[0] == 0
    assert invoke("check", "plan-zipf")[1].startswith("ok: plan-zipf: ")
    assert invoke("plan", "plan-zipf", "--quiet", *FEW, *QUICK)[0] in {0, 3}
    assert Path("results/plan-zipf-plan/plan.json").is_file()


def test_a_file_in_the_working_directory_wins(empty_folder: Path) -> None:
    write_scenario(empty_folder, SCENARIO.replace("name: zipf3", "name: mine")).rename("zipf3.yaml")
    assert sunsim.load("zipf3").name == "mine"
    write_scenario(empty_folder, SCENARIO.replace("name: zipf3", "name: bare")).rename("zipf3")
    assert sunsim.load("zipf3").name == "bare"


def test_a_folder_of_that_name_is_no_scenario(empty_folder: Path) -> None:
    (empty_folder / "zipf3").mkdir()
    assert sunsim.load("zipf3").name == "zipf3"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("zipf4", "did you mean zipf3?"),
        ("scenarios/zipf3.yaml", "did you mean zipf3?"),
        ("nothing-like-it", "`sunsim scenarios` lists those"),
        ("figures/zipf", "did you mean zipf3 or plan-zipf?"),
        ("x" * 5000, "`sunsim scenarios` lists those"),
    ],
)
def test_an_unknown_name_is_one_line_with_what_is_like_it(name: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        find_scenario(Path(name))
    said = str(caught.value)
    assert said.endswith(hint)
    assert "\n" not in said
    assert invoke("run", name)[0] == 2


def test_scenarios_lists_each_with_its_purpose() -> None:
    code, stdout, _ = invoke("scenarios")
    assert code == 0
    lines = stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == list_scenarios()
    assert {"zipf3", "plan-zipf", "h200/chat"} <= set(list_scenarios())
    assert not [name for name in list_scenarios() if name.startswith("figures")]
    assert all(len(purpose(name)) > 30 and purpose(name)[-1] in ".?" for name in list_scenarios())
