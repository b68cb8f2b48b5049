"""Time and memory of preparing and tokenizing over the size of the text: `python -m benchmarks.scale 10 100 1000`.

The text is synthetic: rows of 20 to 380 words drawn from 50,000, as JSON Lines. Every stage is the pipeline's own
script in a process of its own; its peak memory is looked at every 0.05 s.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from gptsmith.tokenizer.bpe import train
from gptsmith.tokenizer.files import write_tokenizer

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
SETTINGS = json.dumps({"task": "text", "sources": [{"path": "raw"}], "format": {"type": "jsonl"}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("megabytes", type=int, nargs="+", help="sizes of the text")
    parser.add_argument("--shards", type=int, default=8, help="shards in the second half of the measurements")
    parser.add_argument("--folder", type=Path, help="where to write (four times the largest size); emptied at the end")
    arguments = parser.parse_args()
    print(f"{'MB':>5} {'stage':<32} {'seconds':>8} {'CPU':>8} {'peak MB':>8}")
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            measure(Path(folder), megabytes, arguments.shards)


def measure(folder: Path, megabytes: int, shards: int) -> None:
    rows = write_text(folder / "raw", megabytes)
    write_tokenizer(train((folder / "raw").open(encoding="utf-8").read(2_000_000).splitlines(), 2048), folder / "bpe")
    raw = ["--settings", SETTINGS, "--raw", folder / "raw"]
    tokenize = ["--settings", SETTINGS, "--prepared", folder / "prepared", "--tokenizer", folder / "bpe"]
    print(f"{megabytes:>5} {rows:,} rows")
    report(megabytes, "prepare", ["prepare.py", *raw, "--seed", 1, "--output", folder / "prepared"])
    report(megabytes, "tokenize", ["tokenize_dataset.py", *tokenize, "--output", folder / "tokens"])
    shard = ["--shard", 1, "--shards", shards]
    report(megabytes, f"read_shard, 1 of {shards}", ["read_shard.py", *raw, *shard, "--output", folder / "shard"])
    (folder / "shard").unlink()
    (folder / "parts").mkdir()
    parts = [folder / "parts" / str(number) for number in range(1, shards + 1)]
    for number, part in enumerate(parts, start=1):
        run(["read_shard.py", *raw, "--shard", number, "--shards", shards, "--output", part])
    shutil.rmtree(folder / "prepared")
    divide = ["prepare_shards.py", *raw, "--seed", 1, "--shards", *parts, "--output", folder / "prepared"]
    report(megabytes, "prepare_shards", divide)
    shutil.rmtree(folder / "parts")
    report(
        megabytes,
        f"tokenize_shard, 1 of {shards}",
        ["tokenize_dataset.py", *tokenize, *shard, "--output", folder / "1"],
    )
    # One shard with everything: what joining reads and writes is the same.
    report(megabytes, "join_tokens", ["join_tokens.py", "--shards", folder / "tokens", "--output", folder / "joined"])


def write_text(path: Path, megabytes: int) -> int:
    """Write rows of random words (a tenth of them repeat an earlier row) and return how many."""
    random = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(random.choice(letters, length)) for length in random.integers(2, 10, 50_000)])
    size = rows = 0
    earlier = ""
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes * 1_000_000:
            picks = (50_000 * random.random(random.integers(20, 380)) ** 3).astype(int)
            line = earlier if rows % 10 == 9 else json.dumps({"text": " ".join(words[picks])}) + "\n"
            earlier = earlier if rows % 100 else line
            size += file.write(line)
            rows += 1
    return rows


def report(megabytes: int, stage: str, arguments: list[object]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak = run(arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{megabytes:>5} {stage:<32} {seconds:>8.1f} {work:>8.1f} {peak / 1e6:>8.0f}", flush=True)


def run(arguments: list[object]) -> tuple[float, int]:
    """Seconds and peak bytes of a script of the workflow."""
    script, *others = map(str, arguments)
    started, peak = time.perf_counter(), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with psutil.Popen([sys.executable, str(SCRIPTS / script), *others], env=environment) as process:
        while process.poll() is None:
            peak = max(peak, sum(resident(each) for each in [process, *children(process)]))
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"{script}: ended with status {process.returncode}")
    return time.perf_counter() - started, peak


def resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


if __name__ == "__main__":
    main()
