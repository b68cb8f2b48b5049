"""The chosen combination of a grid in the place of the run."""

import shutil
from pathlib import Path

from gptsmith.config.conventions import TOKENIZER_FILES
from gptsmith.files import atomic_path, read_json

CHECKPOINT = ("model.safetensors", "config.json", *TOKENIZER_FILES)
ADAPTER = "adapter.safetensors"


def keep_chosen(chosen: Path, seed: int, checkpoints: Path, results: Path, checkpoint: Path, result: Path) -> None:
    """Copy one seed of the combination that `chosen` (chosen.json) names: its checkpoint, history and provenance.

    checkpoints, results: folders with a folder for each combination; checkpoint, result: folders to write into.
    """
    trial = Path(read_json(chosen)["name"]) / f"seed-{seed}"
    settings = read_json(results / trial / "provenance.json")["settings"]
    files = {checkpoint / name: checkpoints / trial / name for name in CHECKPOINT}
    files |= {result / name: results / trial / name for name in ("history.parquet", "provenance.json")}
    if "lora" in settings["trainable"]:
        files[checkpoint / ADAPTER] = checkpoints / trial / ADAPTER
    else:
        (checkpoint / ADAPTER).unlink(missing_ok=True)  # of the one chosen before
    for target, source in files.items():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
