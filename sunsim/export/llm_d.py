"""llm-d: values of its Helm chart llm-d-modelservice, a file a release. Keys are the chart's."""

from math import ceil
from typing import Any

from sunsim.export.deployment import Deployment, Part, Workers
from sunsim.export.kubernetes import FILL_IN, arguments, names, weights, yaml
from sunsim.export.notes import comment, heading, missing
from sunsim.roles import Stage

CHART = "llm-d-modelservice v0.4.0"
SERVICE_PORT, BEHIND_SIDECAR, SIDE_CHANNEL = 8000, 8200, 5600
WEIGHTS_ROOM = 3
"""Times the weights on the card that the volume for them holds: a checkpoint may be of full precision."""

NO_POOL = (
    "llm-d's scheduler looks for the workers of a request in the InferencePool of its model, which selects pods by the label "
    "llm-d.ai/model, one a release of this chart. The shared decode pods would have to be in the pools of all models."
)


def files(deployment: Deployment) -> dict[str, str]:
    """The values of each part."""
    found = zip(deployment.parts, names(part.name for part in deployment.parts).values(), strict=True)
    return {f"values-{name}.yaml": yaml(_head(deployment, part, name), values(part, name)) for part, name in found}


def _head(deployment: Deployment, part: Part, name: str) -> str:
    said = [
        *heading(deployment, f"Helm values of {CHART}, part {part.name}"),
        f"helm install {name} llm-d-modelservice/llm-d-modelservice -f values-{name}.yaml. Replace every {FILL_IN}.",
        "The gateway, the InferencePool and the scheduler come from llm-d's own charts.",
        *(f"{workers.stage}: {workers.title}" for workers in part.workers),
        *missing(deployment, NO_POOL),
    ]
    return comment(said)


def values(part: Part, name: str) -> dict[str, Any]:
    """The chart's values for one part."""
    first = part.workers[0]
    by_role = {"prefill" if workers.stage is Stage.PREFILL else "decode": workers for workers in part.workers}
    sidecar = any(workers.stage is Stage.DECODE for workers in part.workers)
    size = ceil(WEIGHTS_ROOM * first.weight_bytes / 2**30)
    return {
        "fullnameOverride": name,
        "multinode": False,
        "modelArtifacts": {
            "name": _served(first)[0],
            "uri": f"hf://{weights(first)}",
            "size": f"{size}Gi",
            "authSecretName": f"{FILL_IN}-secret-with-HF_TOKEN",
            "labels": {"llm-d.ai/inferenceServing": "true", "llm-d.ai/model": name},
        },
        "accelerator": {"type": "nvidia"},
        "routing": {
            "servicePort": SERVICE_PORT,
            "proxy": {"enabled": sidecar, "connector": "nixlv2", "targetPort": BEHIND_SIDECAR},
        },
        **{role: _role(by_role.get(role), first, sidecar=sidecar) for role in ("prefill", "decode")},
    }


def _role(workers: Workers | None, first: Workers, *, sidecar: bool) -> dict[str, Any]:
    if workers is None:
        return {"create": False, "replicas": 0}
    port = BEHIND_SIDECAR if sidecar and workers.stage is Stage.DECODE else SERVICE_PORT
    return {
        "create": True,
        "replicas": workers.count,
        "parallelism": {"tensor": workers.gpus},
        "containers": [_container(workers, first, port)],
    }


def _container(workers: Workers, first: Workers, port: int) -> dict[str, Any]:
    """The chart knows one model and one name for it: of other weights, or of several names, the command says all."""
    own = workers.weights != first.weights or len(_served(workers)) > 1
    args = _arguments(workers, by_chart=not own)
    if own:
        args = [weights(workers), "--port", str(port), "--served-model-name", *_served(workers), *args]
    container: dict[str, Any] = {"name": "vllm", "image": f"vllm/vllm-openai:{_tag(workers)}"}
    container |= {"modelCommand": "custom", "command": ["vllm", "serve"]} if own else {"modelCommand": "vllmServe"}
    container |= {"args": args, "ports": [{"containerPort": port}], "mountModelVolume": True}
    if workers.stage is not Stage.COLOCATED:
        container["env"] = [
            {"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "VLLM_NIXL_SIDE_CHANNEL_PORT", "value": str(SIDE_CHANNEL)},
        ]
        container["ports"].append({"containerPort": SIDE_CHANNEL})
    return container


def _served(workers: Workers) -> tuple[str, ...]:
    """Names of the weights themselves; adapters have their own."""
    return (workers.weights,) if workers.adapters else workers.names


def _arguments(workers: Workers, *, by_chart: bool) -> list[str]:
    """The chart itself gives the tensor parallel size where it makes the command."""
    args = arguments(workers)
    if by_chart and "--tensor-parallel-size" in args:
        at = args.index("--tensor-parallel-size")
        del args[at : at + 2]
    return args + (
        ["--lora-modules", *(f"{name}={FILL_IN}/{name}" for name in workers.adapters)] if workers.adapters else []
    )


def _tag(workers: Workers) -> str:
    return f"v{workers.vllm}" if workers.vllm else FILL_IN
