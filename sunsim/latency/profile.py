"""Profiles: finding them, reading them, and what they hold.

A profile is one JSON file of raw measurements made by ``python -m profiler measure`` on one card with one model and
variant. Nothing in it is fitted; `sunsim.latency.model` builds the step-time model from it. One that `sunsim profiles
estimate` made has the same format, and says under `estimated` that it was not measured.
"""

from dataclasses import dataclass
from pathlib import Path

from sunsim.latency.document import once, read_document
from sunsim.latency.measured import ProfileData

DRAFTS = "drafts"
"""The folder, beside a profile, of those that were measured with drafts of several numbers."""
UNQUANTIZED = "bf16"
"""The variant of a profile whose weights are as they were trained."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A profile as loaded: its name, the SHA-256 of its bytes and its content."""

    name: str
    path: Path
    sha256: str
    data: ProfileData

    @property
    def adapters(self) -> bool:
        """Whether the models are adapters (LoRA) on one base: they share its weights, and a step may mix them."""
        return self.data.variant.startswith("lora-")

    @property
    def drafts(self) -> int:
        """Of a request in each decode step; 0 without."""
        drafted = self.data.engine_args.speculative_config
        return drafted.num_speculative_tokens if drafted else 0

    @property
    def gpus(self) -> int:
        """GPUs of one worker."""
        return self.data.engine_args.tensor_parallel_size

    @property
    def max_num_seqs(self) -> int:
        return self.data.engine_args.max_num_seqs

    @property
    def max_num_batched_tokens(self) -> int:
        return self.data.engine_args.max_num_batched_tokens

    @property
    def max_model_len(self) -> int:
        return self.data.engine_args.max_model_len

    @property
    def num_gpu_blocks(self) -> int:
        return self.data.num_gpu_blocks

    @property
    def block_size(self) -> int:
        return self.data.block_size

    @property
    def weight_bytes(self) -> int:
        return self.data.weight_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes on each GPU of a worker."""
        return self.data.kv_bytes_per_token

    @property
    def kv_bytes_per_token_of_all(self) -> int:
        """Bytes on all its GPUs; a head that several of them hold counts once."""
        return self.data.kv_bytes_per_token * min(self.gpus, self.data.shape.num_key_value_heads or self.gpus)

    @property
    def memory_bytes(self) -> int:
        """Of the card; where the profile does not name it, what would make its weights and KV blocks the share of it
        that its engine was given."""
        data = self.data
        if memory_mib := data.host.get("gpu_memory_mib"):
            return int(memory_mib * 2**20)
        kv_bytes = data.num_gpu_blocks * data.block_size * data.kv_bytes_per_token
        return int((data.weight_bytes + kv_bytes) / data.engine_args.gpu_memory_utilization)

    def most_blocks(self, beside_bytes: int) -> int:
        """KV blocks that the card's memory holds beside its model's weights and so many bytes more."""
        room = self.memory_bytes - self.weight_bytes - beside_bytes
        return max(0, room // (self.block_size * self.kv_bytes_per_token))


def profiles_root() -> Path:
    """The folder of the shipped profiles: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_data" / "profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def list_profiles() -> list[str]:
    """Names of the shipped profiles without drafts, sorted: ``<gpu>/<model>-<variant>``."""
    root = profiles_root()
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.glob("*/*.json"))


def list_drafts() -> list[str]:
    """Names of the shipped profiles with drafts, sorted: ``<gpu>/drafts/<model>-<variant>-<method>-k<drafts>``."""
    root = profiles_root()
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.glob(f"*/{DRAFTS}/*.json"))


def find_profile(name: str, base: Path) -> Path:
    """The file of the profile called `name`: a shipped profile's name, or a ``.json`` path relative to `base`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = base / name if name.endswith(".json") else profiles_root() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(name)
    return path


def load_named(name: str) -> Profile:
    """The profile called `name`, as `find_profile` takes it, relative to the working directory.

    Raises:
        FileNotFoundError: there is none.
        InputError: as `load_profile`.
    """
    return load_profile(find_profile(name, Path()))


@once(64)
def load_profile(path: Path) -> Profile:
    """Reads and checks a profile, once for each state of its file.

    Raises:
        InputError: the file is not a profile of this schema version, or a value is out of range.
    """
    data, sha256 = read_document(path, ProfileData, "a profile of schema version 1")
    root = profiles_root()
    name = path.resolve().relative_to(root).with_suffix("").as_posix() if _is_under(path, root) else str(path)
    return Profile(name=name, path=path, sha256=sha256, data=data)


def _is_under(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)
