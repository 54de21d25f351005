"""What the head of an exported file says: where it comes from, what must be filled in, what is missing upstream."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

from sunsim.export.deployment import Deployment
from sunsim.report.format import counted
from sunsim.version import __version__
from sunsim.visible import visible

WIDTH = 118

CROSSING = """\
MISSING UPSTREAM. In this arm a request goes from the prefill worker of its model to a decode worker that all models share \
and that loads other weights. vLLM, llm-d and Dynamo have no such way: the workers here start, but what lies between them \
has to be written.
1. Handshake: vLLM 0.24's NixlConnector compares a hash with the model's path in it and refuses KV of another model. \
enforce_handshake_compat false, as in the options here, turns that off, and with it the comparison of vLLM's version, of the \
KV cache's shape and type and of the attention kernel: you have to keep these equal.
2. Last token: a decode worker computes the last token of each prompt again, by its own weights. That is right only of \
models that were tuned with the decode module frozen.
3. Preemption: vLLM computes a preempted request's prompt again where it decodes, by the decode module, which gives other \
KV than the model's own. As simulated it goes back to its model's prefill worker.
4. Prefix caching must stay off on the decode workers: a block's hash does not tell of which model its KV is.
""".splitlines()


def heading(deployment: Deployment, what: str) -> list[str]:
    """Paragraphs: what this is, of what, and by which sunsim."""
    arm = f"arm {deployment.arm} of {deployment.scenario}"
    said = [f"{what} for {arm}: {counted(deployment.gpus, 'GPU')}. Written by sunsim {__version__}."]
    versions = sorted({workers.vllm for workers in deployment.workers if workers.vllm})
    if versions:
        said.append(f"Step times were measured with vLLM {', '.join(versions)}: other versions take other times.")
    return said


def missing(deployment: Deployment, here: str) -> Sequence[str]:
    """Paragraphs: what no upstream project has for this arm; `here` is what lacks at the target."""
    return [*CROSSING, f"5. Routing: {here}"] if deployment.crossing else []


def comment(paragraphs: Iterable[str]) -> str:
    """Lines of a comment; a blank one between paragraphs is not needed, as each begins anew."""
    lines = (line for paragraph in paragraphs for line in wrap(visible(paragraph), WIDTH, break_on_hyphens=False))
    return "".join(f"# {line}\n" for line in lines)
