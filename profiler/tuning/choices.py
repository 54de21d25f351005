"""What may be chosen of tuning and evaluation: names on the command line, in directories and in accuracy files."""

from typing import Literal

Method = Literal["full", "prefill-only", "lora"]
"""What is trained; see `profiler.tuning.methods`."""
DecoderQuant = Literal["int4-g128", "fp8"]
"""How the decode module's weights are rounded; see `profiler.tuning.quantize`."""
Boundary = Literal["decode", "prefill"]
"""The module that computes a prompt's last token; see `profiler.tuning.two_pathways`."""
Schedule = Literal["cosine", "constant"]
"""Of the learning rate after the warm-up: to 0 at the last step, or as it is."""
Dtype = Literal["bfloat16", "float32"]
"""Of weights and arithmetic."""
