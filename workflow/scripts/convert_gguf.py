"""Make a checkpoint of a GGUF file's model; every key, name and shape is checked."""

from pathlib import Path

from gptsmith.checkpoint.gguf import convert_gguf
from gptsmith.command import argument_parser, run


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="GGUF file")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint folder to write")
    arguments = parser.parse_args()
    convert_gguf(arguments.weights, arguments.tokenizer, arguments.output)


if __name__ == "__main__":
    run(main)
