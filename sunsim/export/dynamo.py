"""NVIDIA Dynamo: a DynamoGraphDeployment a file, of the version v1alpha1 of its API."""

from typing import Any

from sunsim.export.deployment import Deployment, Part, Workers
from sunsim.export.kubernetes import FILL_IN, arguments, names, weights, yaml
from sunsim.export.notes import comment, heading, missing
from sunsim.roles import Stage

IMAGE = f"nvcr.io/nvidia/ai-dynamo/vllm-runtime:{FILL_IN}"
SERVICES = {Stage.PREFILL: "VllmPrefillWorker", Stage.DECODE: "VllmDecodeWorker", Stage.COLOCATED: "VllmWorker"}
ADAPTERS_FOLDER = "/tmp/dynamo-loras"

NO_NAME = (
    "dynamo.vllm takes one --served-model-name and refuses more, so no decode worker stands for all models. The workers of "
    "these files have no Frontend: there is none that could pair them."
)
ADAPTERS = (
    "Adapters are loaded into running workers: a DynamoModel with modelType lora for each of {names}, whose baseModelName is "
    "the --model below."
)


def files(deployment: Deployment) -> dict[str, str]:
    """The object of each part."""
    found = zip(deployment.parts, names(part.name for part in deployment.parts).values(), strict=True)
    return {
        f"{name}.yaml": yaml(_head(deployment, part, name), graph(part, name, frontend=not deployment.crossing))
        for part, name in found
    }


def _head(deployment: Deployment, part: Part, name: str) -> str:
    adapters = dict.fromkeys(adapter for workers in part.workers for adapter in workers.adapters)
    said = [
        *heading(deployment, f"DynamoGraphDeployment, part {part.name}"),
        f"kubectl apply -f {name}.yaml, with Dynamo's operator in the cluster. Replace every {FILL_IN}.",
        *(f"{SERVICES[workers.stage]}: {workers.title}" for workers in part.workers),
        *([ADAPTERS.format(names=", ".join(adapters))] if adapters else []),
        *missing(deployment, NO_NAME),
    ]
    return comment(said)


def graph(part: Part, name: str, *, frontend: bool) -> dict[str, Any]:
    """The object for one part."""
    first: dict[str, Any] = {
        "componentType": "frontend",
        "replicas": 1,
        "extraPodSpec": {"mainContainer": {"image": IMAGE}},
    }
    services = {"Frontend": first} if frontend else {}
    services |= {SERVICES[workers.stage]: _service(workers) for workers in part.workers}
    return {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name},
        "spec": {"backendFramework": "vllm", "services": services},
    }


def _service(workers: Workers) -> dict[str, Any]:
    service: dict[str, Any] = {"componentType": "worker", "replicas": workers.count}
    if workers.stage is not Stage.COLOCATED:
        service["subComponentType"] = str(workers.stage)
    service["resources"] = {"limits": {"gpu": str(workers.gpus)}}
    container: dict[str, Any] = {
        "image": IMAGE,
        "command": ["python3", "-m", "dynamo.vllm"],
        "args": _arguments(workers),
    }
    if workers.adapters:
        service["modelRef"] = {"name": weights(workers)}
        container["env"] = [
            {"name": "DYN_LORA_ENABLED", "value": "true"},
            {"name": "DYN_LORA_PATH", "value": ADAPTERS_FOLDER},
        ]
    return service | {"extraPodSpec": {"mainContainer": container}}


def _arguments(workers: Workers) -> list[str]:
    named = (
        []
        if workers.adapters
        else ["--served-model-name", workers.names[0] if len(workers.names) == 1 else workers.weights]
    )
    mode = [] if workers.stage is Stage.COLOCATED else ["--disaggregation-mode", str(workers.stage)]
    return ["--model", weights(workers), *named, *mode, *arguments(workers)]
