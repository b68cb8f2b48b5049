"""Make a checkpoint of downloaded weights of a GPT-2 or a Llama; every name and shape is checked."""

from pathlib import Path

from gptsmith.checkpoint.files import convert_weights
from gptsmith.command import argument_parser, run
from gptsmith.config.architecture import Architecture
from gptsmith.tokenizer.fast import load_tokenizer


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--architecture", required=True, help="JSON of the shape, as in the config")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint folder to write")
    arguments = parser.parse_args()
    architecture = Architecture.model_validate_json(arguments.architecture)
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.tokenizer.name)
    convert_weights(arguments.weights, architecture, arguments.output, tokenizer.vocab_size, tokenizer.end_of_text)


if __name__ == "__main__":
    run(main)
