"""What is known of requests' output lengths before they end."""

import numpy as np
from numpy.typing import NDArray

from sunsim.workload.streams import stream


def predicted_outputs(output_tokens: NDArray[np.int32], accuracy: float, seed: int) -> NDArray[np.int32]:
    """Output tokens as a predictor has them, int32[n], from the true ones, int32[n].

    Each is right with probability `accuracy`; else it is the length of any request of these, drawn evenly. (TokenScale's
    predictor is right for 85 %, arXiv:2512.03416.) The draws are those of the stream ``predictor``, two a request,
    whatever the accuracy, so a request that is predicted right stays so at any higher one.
    """
    rng = stream(seed, "predictor")
    right = rng.random(output_tokens.size) < accuracy
    other = output_tokens[rng.integers(output_tokens.size, size=output_tokens.size)]
    return np.where(right, output_tokens, other)
