"""Join the token files of the shards of a dataset."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.tokenizer.tokenize import join_shards


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="folders of the shards, in order")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    join_shards(arguments.shards, arguments.output)


if __name__ == "__main__":
    run(main)
