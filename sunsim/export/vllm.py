"""vLLM itself: a script that starts the workers of one host, a `vllm serve` command a worker."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent

from sunsim.export.deployment import GPUS_A_HOST, Deployment, Workers
from sunsim.export.notes import comment, heading, missing
from sunsim.export.options import Drafting
from sunsim.files import file_names, own_name
from sunsim.roles import Stage
from sunsim.visible import visible

SCRIPT = "serve.sh"
FIRST_PORT, FIRST_SIDE_CHANNEL, FIRST_PROXY = 8000, 5600, 9000
"""Of a host; one a GPU."""

PROXY = "tests/v1/kv_connector/nixl_integration/toy_proxy_server.py"
"""In vLLM's repository: gives each request to a prefill and a decode worker, in turn."""

PLACE = "<drafter>"

NO_ROUTER = (
    f"vLLM's {PROXY} gives a request to the next prefill worker, whatever its model; one that goes by the request's model "
    "is missing. The decode workers answer to every model's name, so requests need not be rewritten."
)


@dataclass(frozen=True, slots=True)
class Place:
    """One worker and where it runs: GPUs of a host, and ports that no other worker of that host has."""

    name: str
    workers: Workers
    host: int
    first_gpu: int

    @property
    def gpus(self) -> str:
        return ",".join(str(self.first_gpu + gpu) for gpu in range(self.workers.gpus))

    @property
    def port(self) -> int:
        return FIRST_PORT + self.first_gpu

    @property
    def side_channel(self) -> int:
        return FIRST_SIDE_CHANNEL + self.first_gpu


def files(deployment: Deployment) -> dict[str, str]:
    """The script, by its name."""
    placed = places(deployment)
    logs = file_names(place.name for place in placed)
    hosts = max(place.host for place in placed) + 1
    numbers = f"0 to {hosts - 1}" if hosts > 1 else "0"
    head = [
        *heading(deployment, "vllm serve, a command a worker"),
        f"bash {SCRIPT} N starts the workers of host N, {numbers}, and waits for them; each has a log where it starts.",
        f"Hosts have {GPUS_A_HOST} GPUs here; move workers to hosts of your own as you like.",
        "To be given: the variables below, paths or Hugging Face names of weights, drafters and adapters, the same on every host.",
        *missing(deployment, NO_ROUTER),
    ]
    variables = variables_of(deployment)
    lines = [
        "#!/usr/bin/env bash",
        comment(head) + "set -euo pipefail",
        "",
        *(f': "${{{variable}:?must be {_what(name)}}}"' for name, variable in variables.items()),
    ]
    if any(part.disaggregated for part in deployment.parts) or deployment.crossing:
        lines.append(': "${HOST_IP:?must be the address of this host}"')
    # Without job control, what runs in the background would outlive an interrupted script.
    lines += [
        "",
        "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT",
        "workers=()",
        f'case "${{1:?must be the number of a host, {numbers}}}" in',
    ]
    for host in range(hosts):
        lines.append(f"{host})")
        for place in placed:
            if place.host == host:
                lines += _command(place, variables, f"{logs[place.name]}.log")
        lines.append("  ;;")
    lines += [
        "*)",
        f'  echo "$1: must be the number of a host, {numbers}" >&2',
        "  exit 2",
        "  ;;",
        "esac",
        "# The first worker that fails ends them all.",
        'for worker in "${workers[@]}"; do',
        '  wait -n || { code=$?; echo "a worker failed, see the logs" >&2; exit "$code"; }',
        "done",
    ]
    return {SCRIPT: "\n".join([*lines, *_front(deployment, placed)]) + "\n"}


def places(deployment: Deployment) -> list[Place]:
    """Every worker's place: hosts are filled in the order of the parts, no worker on two."""
    placed: list[Place] = []
    host = used = 0
    for part in deployment.parts:
        for workers in part.workers:
            for index in range(workers.count):
                if used and used + workers.gpus > GPUS_A_HOST:
                    host, used = host + 1, 0
                placed.append(Place(f"{workers.stage}/{part.name}/{index}", workers, host, used))
                used += workers.gpus
    return placed


def variables_of(deployment: Deployment) -> dict[str, str]:
    """The shell variable of all weights, asked for as ``m1_MODEL``, of all drafters, as ``m1_DRAFTER``, and adapters, as
    ``m1_ADAPTER``."""
    wanted = [f"{workers.weights}_MODEL" for workers in deployment.workers]
    wanted += [
        f"{drafts.drafter}_DRAFTER" for workers in deployment.workers if (drafts := workers.drafting) and drafts.drafter
    ]
    wanted += [f"{name}_ADAPTER" for workers in deployment.workers for name in workers.adapters]
    found: dict[str, str] = {}
    for name in dict.fromkeys(wanted):
        plain = re.sub(r"[^A-Z0-9]+", "_", name.upper())
        plain = f"_{plain}" if plain[0].isdigit() else plain
        found[name] = own_name(plain, found.values(), "_")
    return found


def _what(name: str) -> str:
    """What a variable must be, without what the shell would take for its own."""
    name, _, kind = re.sub(r"[^\w ./-]+", "-", name).rpartition("_")
    return {"MODEL": "the weights of", "DRAFTER": "the drafter for", "ADAPTER": "the adapter"}[kind] + f" {name}"


def _command(place: Place, variables: Mapping[str, str], log: str) -> list[str]:
    workers = place.workers
    environment = f"CUDA_VISIBLE_DEVICES={place.gpus}"
    if workers.stage is not Stage.COLOCATED:
        environment += f' VLLM_NIXL_SIDE_CHANNEL_HOST="$HOST_IP" VLLM_NIXL_SIDE_CHANNEL_PORT={place.side_channel}'
    # The weights themselves have no name where all that is served are adapters on them.
    names = [] if workers.adapters else [shlex.join(["--served-model-name", *workers.names])]
    adapters = [f'{shlex.quote(name)}="${variables[f"{name}_ADAPTER"]}"' for name in workers.adapters]
    parts = [
        environment,
        f'vllm serve "${variables[f"{workers.weights}_MODEL"]}"',
        *names,
        f"--port {place.port}",
        *(shlex.join(option) for option in workers.options),
        *([f"--speculative-config {_drafts(workers.drafting, variables)}"] if workers.drafting else []),
        *([f"--lora-modules {' '.join(adapters)}"] if adapters else []),
        f">{shlex.quote(log)} 2>&1 &",
    ]
    return [
        indent(comment([f"{place.name}: {workers.title}"]).rstrip("\n"), "  "),
        "  " + " \\\n    ".join(parts),
        '  workers+=("$!")',
    ]


def _drafts(drafting: Drafting, variables: Mapping[str, str]) -> str:
    """The option's value, with the drafter's variable where its path stands."""
    before, _, after = drafting.value(PLACE).partition(PLACE)
    if not drafting.drafter:
        return shlex.quote(before)
    return f'{shlex.quote(before)}"${variables[f"{drafting.drafter}_DRAFTER"]}"{shlex.quote(after)}'


def _front(deployment: Deployment, placed: list[Place]) -> list[str]:
    """What stands before the workers, as a comment: it runs where requests come in."""
    if deployment.crossing:
        return ["", comment(["Requests are sent to a router of your own, see MISSING UPSTREAM above."]).rstrip("\n")]
    parts = [(part, [place for place in placed if place.workers in part.workers]) for part in deployment.parts]
    if any(part.disaggregated for part in deployment.parts):
        said = f"Requests are sent to a proxy a model: vLLM's {PROXY}, as below, or a router of llm-d or Dynamo."
        front = [f"{part.name}: {_proxy(own, FIRST_PROXY + number)}" for number, (part, own) in enumerate(parts)]
    else:
        said = "Requests are sent to a balancer a model, before:"
        front = [f"{part.name}: {' '.join(f'HOST_{at.host}:{at.port}' for at in own)}" for part, own in parts]
    routers = ", ".join(dict.fromkeys(workers.router for workers in deployment.workers))
    head = comment([said, f"HOST_N is the address of host N. Simulated routers: {routers}."]).rstrip("\n")
    return ["", head, *(f"#   {line}" for line in map(visible, front))]


def _proxy(own: list[Place], port: int) -> str:
    def at(stage: Stage, what: str) -> str:
        of_stage = [place for place in own if place.workers.stage is stage]
        hosts = " ".join(f"HOST_{place.host}" for place in of_stage)
        return f"--{what}-hosts {hosts} --{what}-ports {' '.join(str(place.port) for place in of_stage)}"

    return f"python toy_proxy_server.py --port {port} {at(Stage.PREFILL, 'prefiller')} {at(Stage.DECODE, 'decoder')}"
