"""Read a shard of a raw dataset, and clean and check its rows."""

from pathlib import Path

from pydantic import TypeAdapter

from gptsmith.command import argument_parser, run
from gptsmith.config.datasets import Dataset
from gptsmith.data.parts import write_part
from gptsmith.data.shards import Shard


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON of the dataset, as in the config")
    parser.add_argument("--raw", type=Path, required=True, help="file to read")
    parser.add_argument("--shard", type=int, required=True, help="which shard, from 1")
    parser.add_argument("--shards", type=int, required=True, help="how many there are")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    arguments = parser.parse_args()
    dataset = TypeAdapter(Dataset).validate_json(arguments.settings)
    write_part(arguments.raw, dataset, arguments.output, Shard(arguments.shard - 1, arguments.shards))


if __name__ == "__main__":
    run(main)
