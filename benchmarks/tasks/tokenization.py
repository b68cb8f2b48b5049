"""The SMS and instruction texts, repeated to 200 MB, to ids in Parquet: our stage and transformers' fast tokenizer.

Each run has a process of its own, whose memory is watched together with that of the processes it starts.
What is timed is the way from Parquet to Parquet; imports and loading the tokenizer are not.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.row import Row
from benchmarks.settings import Settings
from gptsmith.config.datasets import TextDataset
from gptsmith.data.prepared import SCHEMAS as PREPARED
from gptsmith.data.prepared import write_prepared
from gptsmith.data.prompts import format_prompt
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.tokenize import tokenize_dataset
from gptsmith.tokenizer.tokens import SCHEMAS as TOKENS

SMALL_MB, WHOLE_MB = 20, 200
ROUNDS, QUICK_ROUNDS = 3, 2
PEER_BATCH = 10_000


def run(settings: Settings) -> list[Row]:
    # Not above: the processes that encode import this module, and have no use for torch and pandas.
    from benchmarks.agreement import DisagreementError
    from benchmarks.data import load_data

    messages, instructions = load_data("classification", settings), load_data("instruction", settings)
    texts = [row["text"] for split in messages.rows.values() for row in split.to_pylist()]
    texts += [
        format_prompt(row["instruction"], row["input"], "alpaca") + row["output"]
        for split in instructions.rows.values()
        for row in split.to_pylist()
    ]
    for megabytes in (SMALL_MB, WHOLE_MB):
        _write_texts(texts, megabytes, settings.folder / str(megabytes))

    peer_mb = SMALL_MB if settings.quick else WHOLE_MB
    ours, theirs, plain = list[float](), list[float](), list[float]()
    peaks: dict[int, float] = {}
    for _ in range(QUICK_ROUNDS if settings.quick else ROUNDS):
        for megabytes in (SMALL_MB, WHOLE_MB):
            seconds, peaks[megabytes] = _measured("ours", megabytes, messages.tokenizer_folder, settings)
        ours.append(seconds)
        seconds, peer_peak = _measured("theirs", peer_mb, messages.tokenizer_folder, settings)
        theirs.append(seconds * WHOLE_MB / peer_mb)
        started = time.perf_counter()
        for text in texts:
            messages.tokenizer.encoding.encode_ordinary(text)
        plain.append(time.perf_counter() - started)
    one, other = (pq.read_table(settings.folder / f"{side}-{peer_mb}" / "train.parquet") for side in ("ours", "theirs"))
    if not one.equals(other):
        raise DisagreementError("tokenization: the ids of transformers are not ours")

    rate = sum(len(text.encode()) for text in texts) / 1e6 / median(plain)
    return [
        Row(
            f"tokenize {WHOLE_MB} MB to Parquet",
            median(ours),
            "transformers' fast tokenizer",
            median(theirs),
            WHOLE_MB / (rate * settings.threads),
            goal=2.0,
            extrapolated=settings.quick,
            notes=f"equal ids; {settings.threads} processes against {settings.threads} threads, theirs on {peer_mb} "
            f"MB; peak memory of all our processes {peaks[SMALL_MB]:.0f} MB for {SMALL_MB} MB of text and "
            f"{peaks[WHOLE_MB]:.0f} MB for {WHOLE_MB} MB, theirs {peer_peak:.0f} MB; "
            f"floor: tiktoken alone, {rate:.1f} MB/s a core, no files",
        )
    ]


def _write_texts(texts: list[str], megabytes: int, folder: Path) -> None:
    repetitions = round(megabytes * 1e6 / sum(len(text.encode()) for text in texts))
    rows = texts * repetitions
    table = pa.table({"id": range(len(rows)), "text": rows}, schema=PREPARED["text"])
    write_prepared(folder, {"train": table.to_batches(), "validation": [], "test": []}, {"task": "text"})


def _measured(side: str, megabytes: int, tokenizer: Path, settings: Settings) -> tuple[float, float]:
    """Seconds, and the most MB that the process and those it started held; pages that they share count for each."""
    arguments = [side, settings.folder / str(megabytes), tokenizer, settings.folder / f"{side}-{megabytes}"]
    threads = str(settings.threads)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tasks.tokenization", *map(str, arguments), threads],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"},
    )
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, sum(_resident(each) for each in [watched, *_children(watched)]))
        time.sleep(0.05)
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"tokenization, {side}: ended with status {process.returncode}")
    return float(output.splitlines()[-1]), peak / 1e6


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _ours(texts: Path, tokenizer: Path, output: Path, threads: int) -> float:
    dataset = TextDataset.model_validate({"task": "text", "sources": [{"path": "-"}], "format": {"type": "csv"}})
    loaded = load_tokenizer(tokenizer, "gpt2")
    started = time.perf_counter()
    tokenize_dataset(texts, dataset, loaded, output, threads)
    return time.perf_counter() - started


def _theirs(texts: Path, tokenizer: Path, output: Path) -> float:
    # In transformers 5 this is the fast one.
    from transformers import GPT2Tokenizer

    loaded = GPT2Tokenizer.from_pretrained(tokenizer)
    schema = TOKENS["text"]
    output.mkdir(exist_ok=True)
    started = time.perf_counter()
    with (
        pq.ParquetFile(texts / "train.parquet") as file,
        pq.ParquetWriter(output / "train.parquet", schema, compression="zstd") as writer,
    ):
        for batch in file.iter_batches(PEER_BATCH):
            ids = loaded(batch["text"].to_pylist(), return_attention_mask=False)["input_ids"]
            writer.write_batch(
                pa.record_batch([batch["id"], pa.array(ids, schema.field("input_ids").type)], schema=schema)
            )
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("ours", "theirs"))
    for folder in ("texts", "tokenizer", "output"):
        parser.add_argument(folder, type=Path)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    if given.side == "ours":
        print(_ours(given.texts, given.tokenizer, given.output, given.threads))
    else:
        print(_theirs(given.texts, given.tokenizer, given.output))
