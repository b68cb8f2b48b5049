"""Make a checkpoint of a folder in Hugging Face layout; every name and shape is checked."""

from pathlib import Path

from gptsmith.checkpoint.files import import_checkpoint
from gptsmith.command import argument_parser, run
from gptsmith.tokenizer.fast import load_tokenizer


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder with config.json and model.safetensors")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint folder to write")
    arguments = parser.parse_args()
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.tokenizer.name)
    import_checkpoint(arguments.folder, arguments.output, tokenizer.vocab_size, tokenizer.end_of_text)


if __name__ == "__main__":
    run(main)
