"""What each job asks for: GPUs, memory, time. Only clusters look at the last two, and none of it causes a rerun."""

from gptsmith.checkpoint.configuration import read_architecture
from gptsmith.checkpoint.gguf_keys import from_gguf_keys
from gptsmith.config.architecture import Architecture
from gptsmith.config.generation import Generation
from gptsmith.scheduling import resources as needs
from gptsmith.scheduling.gpus import visible_gpus
from gptsmith.scheduling.slurm import status_command
from gptsmith.sources.gguf import read_header

# Where jobs run on this very machine, those side by side share out its GPUs. (In a profile the limit would hold for
# clusters as well.) A cluster's GPUs cannot be seen from here: there, `auto` means one.
ON_THIS_MACHINE = workflow.is_main_process and workflow.nodes is None
USES_GPUS = DEVICE in ("auto", "cuda")
if ON_THIS_MACHINE and USES_GPUS:
    try:
        n_gpus = len(visible_gpus())
    except UserError as error:
        sys.exit(f"error: {error}")
    USES_GPUS = n_gpus > 0
    if n_gpus and workflow.global_resources.get("gpu").value is None:
        workflow.register_resource("gpu", n_gpus)


def architecture_of(model):
    """The shape of a model (or of a variant, which is one), so far as it is known before anything runs."""
    if isinstance(model, Architecture):
        return model
    if MODELS[model].gguf is not None:
        return architecture_in(gguf_file(model)) if Path(gguf_file(model)).is_file() else Architecture()
    if (path := MODELS[model].path) is None:
        return MODELS[model].architecture
    if Path(path) in FINETUNED:
        return architecture_of(RUNS[Path(path).parts[3]].model)
    try:
        return read_architecture(Path(path))
    except UserError:
        return Architecture()  # the import will say what is wrong


@functools.cache
def architecture_in(gguf):
    try:
        return from_gguf_keys(read_header(Path(gguf)))
    except UserError:
        return Architecture()  # the conversion will say what is wrong


def of_weights(model_of):
    """Resources of a stage that makes or compares the weights of the model that `model_of` names."""
    return {
        "mem_mb": lambda wildcards, attempt: attempt * needs.weights_memory_mb(architecture_of(model_of(wildcards)))
    }


def of_inference(model_of, rows_of, length_of):
    """Resources of a stage that a model answers many texts in, some rows at once; `length_of` gives the longest
    sequence, None for the model's context."""

    def mem_mb(wildcards, attempt):
        architecture = architecture_of(model_of(wildcards))
        length = min(length_of(wildcards) or architecture.context_length, architecture.context_length)
        return attempt * needs.inference_memory_mb(architecture, rows_of(wildcards), length)

    return {
        "device": DEVICE,
        "gpu": int(USES_GPUS),
        "mem_mb": mem_mb,
        "runtime": lambda wildcards, attempt: attempt * needs.inference_minutes(architecture_of(model_of(wildcards))),
    }


def of_training(model_of, training_of, length_of):
    """Resources of a training; `length_of` gives its longest sequence, None for the model's context."""

    def mem_mb(wildcards, attempt):
        architecture = architecture_of(model_of(wildcards))
        length = length_of(wildcards) or architecture.context_length
        processes = CONFIG.execution.processes
        memory = needs.training_memory_mb(architecture, training_of(wildcards), length, processes)
        # Another attempt often only needs more time, and no node has three times as much.
        return round(memory * (1 + attempt) / 2)

    return {
        "processes": CONFIG.execution.processes,
        "sharding": CONFIG.execution.sharding,
        "compile": CONFIG.execution.compile,
        "checkpoint_seconds": CONFIG.execution.checkpoint_seconds,
        "state_gb": CONFIG.execution.state_gb,
        "state_days": CONFIG.execution.state_days,
        "device": DEVICE,
        "gpu": CONFIG.execution.processes if USES_GPUS else 0,
        "mem_mb": mem_mb,
        "runtime": lambda wildcards: needs.training_minutes(architecture_of(model_of(wildcards))),
    }


def measuring_memory_mb(wildcards, attempt):
    """All variants are there at once."""
    training, window = ablated_training(wildcards), ablated_window(wildcards)
    models = sum(needs.training_tensors_mb(shape, training, window) for shape in VARIANTS.values())
    return attempt * (needs.BASE_MB + models)


def of_data(wildcards, input, attempt):
    """Memory of a stage that reads texts or tokens."""
    return attempt * needs.data_memory_mb(input.size_mb)


def of_preparation(wildcards, input, attempt):
    """Memory of a stage that prepares a whole dataset."""
    ignores = getattr(DATASETS[wildcards.dataset], "near_duplicates", "ignore") == "ignore"
    found = 0 if ignores else attempt * needs.near_duplicates_memory_mb(input.size_mb)
    return of_data(wildcards, input, attempt) + found


def model_of_run(wildcards):
    return TRAININGS[wildcards.run].model


def max_length_of_run(wildcards):
    return TRAININGS[wildcards.run].max_length


def generation_of(wildcards):
    return RUNS[wildcards.run].generation or Generation()


def longest_answer_of_run(wildcards):
    """With its prompt, where that is no longer than the texts that the run learns from."""
    longest = max_length_of_run(wildcards)
    return longest and longest + generation_of(wildcards).max_new_tokens


def check_scheduler():
    """Before the first job: how Slurm is asked for the state of jobs works here."""
    if workflow.executor_plugin.name == "slurm":
        try:
            settings = workflow.executor_settings
            settings.status_command = status_command(settings.status_command)
        except UserError as error:
            sys.exit(f"error: {error}")
