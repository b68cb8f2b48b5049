"""Split the rows that were read in shards, and write the splits and a report of what was dropped."""

from pathlib import Path

from pydantic import TypeAdapter

from gptsmith.command import argument_parser, run
from gptsmith.config.datasets import Dataset
from gptsmith.data.prepare import prepare_parts


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON of the dataset, as in the config")
    parser.add_argument("--seed", type=int, required=True, help="seed of the split and of generated items")
    parser.add_argument("--raw", type=Path, required=True, help="file that was read, for messages")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="what was read, in order")
    parser.add_argument("--test", default="", help="file with the test split; empty: there is none")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    test = Path(arguments.test) if arguments.test else None
    dataset = TypeAdapter(Dataset).validate_json(arguments.settings)
    prepare_parts(arguments.raw, arguments.shards, dataset, arguments.seed, arguments.output, test)


if __name__ == "__main__":
    run(main)
