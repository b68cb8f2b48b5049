"""Load a checkpoint with ours or theirs and compute the logits of the next token, in a process of its own.

python -m benchmarks.first_logits ours|theirs FOLDER THREADS

Prints JSON: the seconds from the call to the loaded model and to the logits, both after the imports; the bytes that the
process came to hold above what it held when it had imported torch; and some of the logits.
"""

import json
import sys
import time
from pathlib import Path

import torch


def peak_memory() -> int:
    """Bytes, on Linux. (`ru_maxrss` would begin with what the process had that started this one.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@torch.inference_mode()
def main(side: str, folder: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    prompt, with_torch = torch.arange(8).unsqueeze(0), peak_memory()
    # Here, so that neither side has the other's imports.
    if side == "ours":
        from gptsmith.checkpoint.files import load_language_model

        started = time.perf_counter()
        ours = load_language_model(Path(folder))
        loaded = time.perf_counter()
        logits = ours.logits(ours.trunk(prompt)[:, -1])
    else:
        from transformers import GPT2LMHeadModel
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        started = time.perf_counter()
        theirs = GPT2LMHeadModel.from_pretrained(folder)
        loaded = time.perf_counter()
        logits = theirs(prompt, logits_to_keep=1).logits[:, -1]
    finished = time.perf_counter()
    print(
        json.dumps(
            {
                "load": loaded - started,
                "seconds": finished - started,
                "memory": peak_memory() - with_torch,
                "logits": logits[0, :100].tolist(),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
