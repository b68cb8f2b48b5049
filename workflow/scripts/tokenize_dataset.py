"""Encode the prepared splits of a dataset as token ids in Parquet."""

from pathlib import Path

from pydantic import TypeAdapter

from gptsmith.command import argument_parser, run
from gptsmith.config.datasets import Dataset
from gptsmith.data.shards import Shard
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.tokenize import tokenize_dataset


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON of the dataset, as in the config")
    parser.add_argument("--prepared", type=Path, required=True, help="folder of the prepared splits")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--shard", type=int, default=1, help="which shard of the rows, from 1")
    parser.add_argument("--shards", type=int, default=1, help="how many there are")
    parser.add_argument("--threads", type=int, default=1, help="processes that encode")
    arguments = parser.parse_args()
    dataset = TypeAdapter(Dataset).validate_json(arguments.settings)
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.tokenizer.name)
    shard = Shard(arguments.shard - 1, arguments.shards)
    tokenize_dataset(arguments.prepared, dataset, tokenizer, arguments.output, arguments.threads, shard)


if __name__ == "__main__":
    run(main)
