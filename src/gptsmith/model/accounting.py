"""Floating-point operations and bytes of the model's parts, counted from their shapes.

A product of matrices [n, k] and [k, m] is 2nkm operations. Products are all that is counted: the rest
(normalisation, activation, softmax) is next to nothing beside them in operations, though not in time. Kaplan et
al., "Scaling Laws for Neural Language Models" (2020), section 2.1, count the same way.
"""

from gptsmith.config.architecture import Architecture

FLOAT32_BYTES = 4


def block_weights(architecture: Architecture) -> int:
    """Weights in the matrices of one transformer block."""
    d_model = architecture.d_model
    attention = d_model * (2 * d_model + 2 * architecture.kv_width)
    return attention + (3 if architecture.is_gated else 2) * d_model * architecture.feedforward_width


def block_flops(architecture: Architecture, positions: int, pairs: int) -> int:
    """Forward through one block. pairs: of a query and a key that it sees, n (n + 1) / 2 for n positions."""
    return 2 * positions * block_weights(architecture) + 4 * pairs * architecture.d_model


def block_at_flops(architecture: Architecture, rows: int, positions: int) -> int:
    """`TransformerBlock.forward_at`: one position of each of `rows`, which have `positions` together."""
    row = 2 * rows * block_weights(architecture)
    if architecture.position == "learned":
        return row + 4 * positions * architecture.n_heads * architecture.d_model
    # Keys of all positions, their products with a query a head, and the sum of the hidden states.
    keys = 2 * positions * architecture.d_model * (architecture.kv_width + 1)
    return row + keys + 2 * positions * architecture.n_heads * architecture.d_model


def head_flops(architecture: Architecture, positions: int, outputs: int) -> int:
    """A head of `outputs` logits, at as many positions."""
    return 2 * positions * architecture.d_model * outputs


def weight_bytes(architecture: Architecture) -> int:
    """What a decoding step reads of the weights, however many rows it advances: the blocks' and a language head's."""
    blocks = architecture.n_layers * block_weights(architecture)
    return FLOAT32_BYTES * (blocks + architecture.vocab_size * architecture.d_model)


def cache_bytes(architecture: Architecture) -> int:
    """Keys and values of one position in all blocks."""
    return FLOAT32_BYTES * 2 * architecture.n_layers * architecture.kv_width
