"""Train a byte-level BPE on the training splits of prepared datasets."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.tokenizer.training import train_tokenizer


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--vocab-size", type=int, required=True, help="tokens, end-of-text included")
    parser.add_argument("--prepared", type=Path, nargs="+", required=True, help="prepared train.parquet files")
    parser.add_argument("--output", type=Path, required=True, help="folder for vocab.json and merges.txt")
    arguments = parser.parse_args()
    train_tokenizer(arguments.prepared, arguments.vocab_size, arguments.output)


if __name__ == "__main__":
    run(main)
