"""What a stage asks a cluster for: memory and time, estimated from the size of the model before anything runs.

Requests are generous, because a job that takes more than it asked for is killed. Memory is the computer's, in MB of
10^6 bytes: on a GPU a stage needs less of it than on the CPU, for which it is counted here. All weights are float32.
"""

from gptsmith.config.architecture import Architecture
from gptsmith.config.training import Training

# Python, torch and its CUDA libraries, tables, the Snakemake that runs the job.
BASE_MB = 2500
LONGEST_MINUTES = 24 * 60


def data_memory_mb(input_mb: float) -> int:
    """For stages that read texts or tokens of this size."""
    return BASE_MB + round(4 * input_mb)


def near_duplicates_memory_mb(input_mb: float) -> int:
    """For looking for near duplicates in texts of this size, beside what reading them takes."""
    # Seven kilobytes a row (data/near_duplicates.py), if a row has 200 bytes. Where rows are shorter, the next attempt
    # has more.
    return round(7000 / 200 * input_mb)


def training_tensors_mb(architecture: Architecture, training: Training, length: int) -> int:
    """What one process of a training on sequences of at most `length` tokens holds."""
    # A process has weights, gradients, both moments of AdamW and the best weights so far, and the first writes them.
    weights = 4 * 6 * architecture.n_parameters
    # Each block keeps for `backward` some ten vectors of its width a token, and three of the feed-forward layer's.
    widths = 10 * architecture.d_model + 3 * architecture.feedforward_width
    tokens = (training.micro_batch_size or training.batch_size) * length
    activations = 4 * tokens * architecture.n_layers * widths
    return round((weights + activations) / 1e6)


def training_memory_mb(architecture: Architecture, training: Training, length: int, processes: int) -> int:
    """For a training on sequences of at most `length` tokens."""
    return BASE_MB + processes * (1000 + training_tensors_mb(architecture, training, length))


def inference_tensors_mb(architecture: Architecture, rows: int, length: int) -> int:
    """What prediction or generation holds: `rows` sequences of at most `length` tokens at once, keys and values."""
    weights = 4 * 2 * architecture.n_parameters
    activations = 4 * rows * length * (2 * architecture.n_layers + 8) * architecture.d_model
    return round((weights + activations) / 1e6)


def inference_memory_mb(architecture: Architecture, rows: int, length: int) -> int:
    """For prediction or generation."""
    return BASE_MB + inference_tensors_mb(architecture, rows, length)


def weights_memory_mb(architecture: Architecture) -> int:
    """For making, converting or comparing weights: the model twice, and both once more while they are compared."""
    return BASE_MB + round(4 * 4 * architecture.n_parameters / 1e6)


def training_minutes(architecture: Architecture) -> int:
    """The rows are not known beforehand, so it is by the size of the model alone: 308 minutes for 124M parameters.

    At most a day, which most partitions allow: a training that needs longer goes on in the next try.
    """
    return min(LONGEST_MINUTES, 60 + round(2e-6 * architecture.n_parameters))


def inference_minutes(architecture: Architecture) -> int:
    return min(LONGEST_MINUTES, 60 + round(1e-6 * architecture.n_parameters))
