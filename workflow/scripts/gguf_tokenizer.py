"""Write the tokenizer of a GGUF file as vocab.json, merges.txt and tokenizer_settings.json."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.tokenizer.gguf import extract_tokenizer


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="GGUF file")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    extract_tokenizer(arguments.weights, arguments.output)


if __name__ == "__main__":
    run(main)
