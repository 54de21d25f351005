"""`sunsim export`: what it writes for each target, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.export.arms import ARMS, CROSSING, started, write
from tests.plan.small import invoke

HERE = Path(__file__).parent
FLAGS = json.loads((HERE / "vllm_0_24_serve_flags.json").read_text())
CHAT = "it's 8b/chat"


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("ways"))


def exported(scenario: Path, arm: str, target: str, out: Path) -> dict[str, str]:
    """The files of an arm, but for the manifest."""
    code, stdout, stderr = invoke("export", scenario, "--arm", arm, "--to", target, "--out", out)
    assert (code, stderr) == (0, "")
    files = {path.name: path.read_text() for path in out.iterdir() if path.name != "manifest.json"}
    assert all(name in stdout for name in files)
    return files


def documents(scenario: Path, arm: str, target: str, out: Path) -> dict[str, Any]:
    return {name: YAML(typ="safe").load(text) for name, text in exported(scenario, arm, target, out).items()}


def commands(scenario: Path, arm: str, out: Path, hosts: int = 1) -> dict[str, list[str]]:
    """What the script of an arm starts, on all hosts."""
    exported(scenario, arm, "vllm", out)
    return {
        f"{host} {log}": lines
        for host in range(hosts)
        for log, lines in started(out / "serve.sh", host, out.parent / f"host-{host}").items()
    }


def options(arguments: list[str]) -> dict[str, list[str]]:
    """Values by option; each option once."""
    found: dict[str, list[str]] = {}
    for argument in arguments:
        if argument.startswith("--"):
            assert argument not in found
            found[argument] = []
        else:
            found[list(found)[-1]].append(argument)
    return found


def check_flags(arguments: list[str]) -> None:
    """As the recorded parser would take them."""
    for flag, values in options(arguments).items():
        known = FLAGS[flag]
        assert len(values) == known["values"] if isinstance(known["values"], int) else values, (flag, values)
        assert set(values) <= set(known.get("choices", values)), (flag, values)


@pytest.mark.parametrize("arm", ARMS)
def test_vllm_0_24_knows_every_option_of_every_worker(scenario: Path, tmp_path: Path, arm: str) -> None:
    found = commands(scenario, arm, tmp_path / "out", hosts=2 if arm == "two-gpus" else 1)
    assert found
    for _, _, serve, _, *arguments in found.values():
        assert serve == "serve"
        check_flags(arguments)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM")
def test_vllms_own_parser_takes_every_command(scenario: Path, tmp_path: Path) -> None:
    lines = []
    for arm in ARMS:
        (tmp_path / arm).mkdir()
        lines += [json.dumps(command[3:]) for command in commands(scenario, arm, tmp_path / arm / "out").values()]
    (tmp_path / "commands").write_text("\n".join(lines))
    command = [sys.executable, "-m", "tests.export.vllm_parser", "parse", str(tmp_path / "commands")]
    subprocess.run(command, check=True, timeout=240)


def test_a_worker_has_its_own_gpu_port_and_options(scenario: Path, tmp_path: Path) -> None:
    found = commands(scenario, "isolated", tmp_path / "out")
    assert list(found) == [
        "0 decode-it-s-8b-chat-0.log",
        "0 decode-it-s-8b-chat-1.log",
        "0 decode-law-0.log",
        "0 prefill-it-s-8b-chat-0.log",
        "0 prefill-law-0.log",
        "0 prefill-law-1.log",
    ]
    where = {(lines[0], lines[1]): options(lines[4:])["--port"] for lines in found.values()}
    assert len(where) == 6
    assert len({port for (port,) in where.values()}) == 6
    gpu, side, serve, model, *arguments = found["0 decode-it-s-8b-chat-1.log"]
    assert (serve, model) == ("serve", "/my weights/it_s_8b_chat_model")
    assert side.startswith("SIDE=/my weights/host_ip:56")
    decode = options(arguments)
    assert decode.pop("--port") == [f"800{gpu[-1]}"]
    assert decode == {
        "--served-model-name": [CHAT],
        "--max-num-seqs": ["64"],
        "--max-num-batched-tokens": ["8192"],
        "--max-model-len": ["16384"],
        "--gpu-memory-utilization": ["0.85"],
        "--dtype": ["bfloat16"],
        "--kv-cache-dtype": ["auto"],
        "--no-enable-prefix-caching": [],
        "--enable-chunked-prefill": [],
        "--async-scheduling": [],
        "--num-gpu-blocks-override": ["9000"],
        "--kv-transfer-config": ['{"kv_connector": "NixlConnector", "kv_role": "kv_both"}'],
    }


def test_a_proxy_a_model_is_told_of_its_workers(scenario: Path, tmp_path: Path) -> None:
    found = commands(scenario, "isolated", tmp_path / "out")
    told = [
        line for line in (tmp_path / "out/serve.sh").read_text().splitlines() if "toy_proxy_server.py --port" in line
    ]
    for line, model in zip(told, ("law", CHAT), strict=True):
        name, _, arguments = line.removeprefix("#   ").partition(": python toy_proxy_server.py ")
        assert name == model
        proxy = options(arguments.split())
        for stage, what in (("prefill", "prefiller"), ("decode", "decoder")):
            own = [options(lines[4:]) for log, lines in found.items() if stage in log]
            ports = [port for worker in own if worker["--served-model-name"] == [model] for port in worker["--port"]]
            assert proxy[f"--{what}-ports"] == ports
            assert proxy[f"--{what}-hosts"] == ["HOST_0"] * len(ports)


def test_a_colocated_worker_has_no_connector(scenario: Path, tmp_path: Path) -> None:
    for lines in commands(scenario, "colocated", tmp_path / "out").values():
        own = options(lines[4:])
        assert lines[1] == "SIDE=:"
        assert "--kv-transfer-config" not in own
        assert own["--quantization"] == ["fp8"]


def test_a_stopped_script_stops_its_workers(scenario: Path, tmp_path: Path) -> None:
    script = begun(scenario, tmp_path, "echo $$\nexec sleep 60\n")
    assert soon(lambda: len(pids(tmp_path)) == 2)
    workers = pids(tmp_path)
    script.terminate()
    script.communicate(timeout=20)
    assert script.returncode != 0
    assert soon(lambda: not any(alive(worker) for worker in workers))


def test_a_worker_that_fails_ends_the_script_and_the_others(scenario: Path, tmp_path: Path) -> None:
    # The first to come sleeps, the other fails.
    script = begun(scenario, tmp_path, "mkdir sleeper 2>/dev/null || exit 3\necho $$\nexec sleep 60\n")
    _, stderr = script.communicate(timeout=20)
    assert (script.returncode, stderr) == (3, "a worker failed, see the logs\n")
    assert soon(lambda: not any(alive(worker) for worker in pids(tmp_path)))


def begun(scenario: Path, folder: Path, worker: str) -> subprocess.Popen[str]:
    """The script of an arm of two workers, begun; what a worker does is a shell script."""
    exported(scenario, "lora", "vllm", folder / "out")
    vllm = folder / "vllm"
    vllm.write_text(f"#!/bin/sh\n{worker}")
    vllm.chmod(0o755)
    given = {"BASE_MODEL": "base", "LAW_ADAPTER": "law", "IT_S_8B_CHAT_ADAPTER": "chat"}
    environment = {**os.environ, **given, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = ["bash", str(folder / "out" / "serve.sh"), "0"]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def soon(true: Callable[[], bool]) -> bool:
    """Whether it comes true within 20 seconds."""
    ends = time.monotonic() + 20
    while not (came := true()) and time.monotonic() < ends:
        time.sleep(0.01)
    return came


def pids(folder: Path) -> list[int]:
    """What workers have written into their logs."""
    return [int(text) for log in folder.glob("*.log") if (text := log.read_text()).endswith("\n")]


def alive(pid: int) -> bool:
    """Whether it still runs; one that has ended and that nobody has asked for has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_script_says_what_it_needs(scenario: Path, tmp_path: Path) -> None:
    exported(scenario, "sun", "vllm", tmp_path / "out")
    script = [str(tmp_path / "out" / "serve.sh")]
    done = subprocess.run(["bash", *script, "0"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "LAW_MODEL: must be the weights of law" in done.stderr
    names = ("LAW", "IT_S_8B_CHAT", "SHARED")
    environment = {**os.environ, **{f"{name}_MODEL": "x" for name in names}, "HOST_IP": "127.0.0.1"}
    done = subprocess.run(["bash", *script, "7"], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (2, "7: must be the number of a host, 0\n")


def test_adapters_are_all_on_each_worker(scenario: Path, tmp_path: Path) -> None:
    for lines in commands(scenario, "lora", tmp_path / "out").values():
        own = options(lines[4:])
        assert lines[3] == "/my weights/base_model"
        assert own["--max-loras"] == own["--max-cpu-loras"] == ["2"]
        assert own["--max-lora-rank"] == ["16"]
        assert own["--lora-target-modules"] == ["q_proj", "v_proj"]
        assert own["--lora-modules"] == ["law=/my weights/law_adapter", f"{CHAT}=/my weights/it_s_8b_chat_adapter"]
        assert "--served-model-name" not in own


def test_adapters_that_were_not_measured_are_told(scenario: Path, tmp_path: Path) -> None:
    text = exported(scenario, "lora", "vllm", tmp_path / "out")["serve.sh"]
    assert "not measured" not in text
    profile = json.loads((scenario.parent / "lora-r16.json").read_text())
    profile["engine_args"]["max_loras"] = 1
    (tmp_path / "lora-r16.json").write_text(json.dumps(profile))
    for name in ("bf16", "awq", "fp8", "tp2"):
        (tmp_path / f"{name}.json").write_text((scenario.parent / f"{name}.json").read_text())
    (tmp_path / "ways.yaml").write_text(scenario.read_text())
    text = exported(tmp_path / "ways.yaml", "lora", "vllm", tmp_path / "again")["serve.sh"]
    assert "KV cache of 384,000 tokens, less the room of 1 adapter not measured" in text.replace("\n  #", "")


def test_a_worker_of_two_gpus_is_on_one_host(scenario: Path, tmp_path: Path) -> None:
    found = commands(scenario, "two-gpus", tmp_path / "out", hosts=2)
    assert {name[0]: sum(other[0] == name[0] for other in found) for name in found} == {"0": 4, "1": 1}
    assert sorted(lines[0].split("=")[1] for name, lines in found.items() if name[0] == "0") == [
        "0,1",
        "2,3",
        "4,5",
        "6,7",
    ]
    assert all(options(lines[4:])["--tensor-parallel-size"] == ["2"] for lines in found.values())


def test_the_handshake_is_relaxed_only_where_weights_differ(scenario: Path, tmp_path: Path) -> None:
    for arm in ("isolated", "isolated-awq", "sun", "qsun", "lora-apart"):
        (tmp_path / arm).mkdir()
        for lines in commands(scenario, arm, tmp_path / arm / "out").values():
            (config,) = options(lines[4:])["--kv-transfer-config"]
            relaxed = json.loads(config).get("kv_connector_extra_config") == {"enforce_handshake_compat": False}
            assert relaxed == (arm not in {"isolated", "lora-apart"})


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("target", ["vllm", "llm-d", "dynamo"])
def test_what_is_missing_upstream_is_said_where_it_is_missing(
    scenario: Path, tmp_path: Path, arm: str, target: str
) -> None:
    for text in exported(scenario, arm, target, tmp_path / "out").values():
        said = [line for line in text.splitlines() if line.startswith("#")]
        assert any("MISSING UPSTREAM." in line for line in said) == (arm in CROSSING)
        assert any("enforce_handshake_compat" in line for line in said) == (arm in CROSSING)


@pytest.mark.parametrize(
    ("target", "schema"), [("llm-d", "llm-d-modelservice-values"), ("dynamo", "dynamo-graph-deployment")]
)
@pytest.mark.parametrize("arm", ARMS)
def test_manifests_are_as_the_published_schemas_have_them(
    scenario: Path, tmp_path: Path, arm: str, target: str, schema: str
) -> None:
    validator = jsonschema.Draft7Validator(json.loads((HERE / "schemas" / f"{schema}.json").read_text()))
    found = documents(scenario, arm, target, tmp_path / "out")
    assert found
    for content in found.values():
        validator.validate(content)
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**content, "replica": 1})


def test_llm_d_has_a_release_a_model_with_replicas_of_both(scenario: Path, tmp_path: Path) -> None:
    found = documents(scenario, "isolated", "llm-d", tmp_path / "out")
    replicas = {
        values["modelArtifacts"]["name"]: (values["prefill"]["replicas"], values["decode"]["replicas"])
        for values in found.values()
    }
    assert set(found) == {"values-law.yaml", "values-it-s-8b-chat.yaml"}
    assert replicas == {"law": (2, 1), CHAT: (1, 2)}
    for values in found.values():
        for stage, port in (("prefill", 8000), ("decode", 8200)):
            (container,) = values[stage]["containers"]
            check_flags(container["args"])
            assert container["ports"][0] == {"containerPort": port}
        assert values["routing"]["proxy"]["enabled"]


def test_llm_d_decodes_with_weights_of_their_own_where_they_differ(scenario: Path, tmp_path: Path) -> None:
    values = documents(scenario, "isolated-awq", "llm-d", tmp_path / "out")["values-law.yaml"]
    (decode,) = values["decode"]["containers"]
    assert values["modelArtifacts"]["uri"] == "hf://FILL-IN/law"
    assert (decode["command"], decode["args"][0]) == (["vllm", "serve"], "FILL-IN/law-awq")
    assert options(decode["args"][1:])["--served-model-name"] == ["law"]
    check_flags(decode["args"][1:])


def test_llm_d_without_prefill_workers_has_no_sidecar(scenario: Path, tmp_path: Path) -> None:
    (values,) = documents(scenario, "lora", "llm-d", tmp_path / "out").values()
    assert not values["routing"]["proxy"]["enabled"]
    assert (values["prefill"], values["decode"]["replicas"]) == ({"create": False, "replicas": 0}, 2)
    (container,) = values["decode"]["containers"]
    assert container["ports"] == [{"containerPort": 8000}]
    assert options(container["args"])["--lora-modules"] == ["law=FILL-IN/law", f"{CHAT}=FILL-IN/{CHAT}"]


def test_dynamo_has_a_graph_a_model_with_replicas_of_both(scenario: Path, tmp_path: Path) -> None:
    found = documents(scenario, "isolated", "dynamo", tmp_path / "out")
    services = {name: content["spec"]["services"] for name, content in found.items()}
    assert {name: {key: one["replicas"] for key, one in own.items()} for name, own in services.items()} == {
        "law.yaml": {"Frontend": 1, "VllmPrefillWorker": 2, "VllmDecodeWorker": 1},
        "it-s-8b-chat.yaml": {"Frontend": 1, "VllmPrefillWorker": 1, "VllmDecodeWorker": 2},
    }
    for own in services.values():
        for key, mode in (("VllmPrefillWorker", "prefill"), ("VllmDecodeWorker", "decode")):
            arguments = own[key]["extraPodSpec"]["mainContainer"]["args"]
            at = arguments.index("--disaggregation-mode")
            assert arguments[at + 1] == mode
            # The rest is vLLM's.
            check_flags(arguments[:at] + arguments[at + 2 :])


def test_dynamo_gets_the_gpus_of_a_worker(scenario: Path, tmp_path: Path) -> None:
    content = documents(scenario, "two-gpus", "dynamo", tmp_path / "out")["law.yaml"]
    worker = content["spec"]["services"]["VllmWorker"]
    assert (worker["replicas"], worker["resources"]) == (4, {"limits": {"gpu": "2"}})


def test_shared_decode_workers_stand_apart(scenario: Path, tmp_path: Path) -> None:
    found = documents(scenario, "sun", "dynamo", tmp_path / "out")
    assert {name: list(content["spec"]["services"]) for name, content in found.items()} == {
        "law.yaml": ["VllmPrefillWorker"],
        "it-s-8b-chat.yaml": ["VllmPrefillWorker"],
        "shared.yaml": ["VllmDecodeWorker"],
    }
