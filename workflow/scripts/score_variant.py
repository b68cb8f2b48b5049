"""How probable a pretrained model finds the texts of a split, window by window."""

from pathlib import Path

from gptsmith.command import add_compute_options, argument_parser, run
from gptsmith.generation.window_losses import write_window_losses
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.training.compute import choose_compute


def main() -> None:
    parser = argument_parser(__doc__)
    add_compute_options(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of the language model")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--tokens", type=Path, nargs="+", required=True, help="tokens of the split, of each dataset")
    parser.add_argument("--window", type=int, required=True, help="tokens that the model reads at a time")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    arguments = parser.parse_args()
    compute = choose_compute(arguments.device, arguments.precision, arguments.threads)
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.tokenizer.name)
    write_window_losses(arguments.checkpoint, tokenizer, arguments.tokens, arguments.window, compute, arguments.output)


if __name__ == "__main__":
    run(main)
