"""The files that make a folder a checkpoint, looked for without loading anything."""

from pathlib import Path

from gptsmith.errors import UserError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Of TensorFlow, JAX, ONNX, and llama.cpp before GGUF.
OTHER_FORMATS = (".ggml", ".h5", ".msgpack", ".onnx")
CONVERT = f"where you trust it, load it with transformers and save_pretrained it: that writes {WEIGHTS}"


def weights_file(folder: Path) -> Path:
    """Path of the folder's weights. Raises UserError where they are in a form that is not read."""
    path = folder / WEIGHTS
    if path.is_file():
        return path
    if (folder / f"{WEIGHTS}.index.json").is_file():
        raise UserError(
            f"{folder}: the weights are in several files (sharded); load the folder with transformers and "
            f"save_pretrained it with max_shard_size='100GB': that writes one {WEIGHTS}"
        )
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    if pickles := [name for name in names if name.lower().endswith(PICKLES)]:
        reason = "a pickle, and reading a pickle can run any code it carries"
        raise UserError(f"{folder}: {pickles[0]} is {reason}; {CONVERT}")
    if files := [name for name in names if name.lower().endswith(".gguf")]:
        raise UserError(f"{folder}: {files[0]} is read by `gguf: [{{path: {folder / files[0]}}}]` instead of `path`")
    if others := [name for name in names if name.lower().endswith(OTHER_FORMATS)]:
        raise UserError(f"{folder}: {others[0]} is in a form that is not read; {CONVERT}")
    raise UserError(f"{path}: no such file")


def config_file(folder: Path) -> Path:
    """Path of the folder's config.json. Raises UserError when there is none."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{path}: no such file; a checkpoint is a folder with {WEIGHTS} and {CONFIG}")
    return path
