"""Run the frozen blocks of a base model once over the texts of a token file."""

from pathlib import Path

from gptsmith.command import add_compute_options, argument_parser, run
from gptsmith.training.compute import choose_compute
from gptsmith.training.features import write_features


def main() -> None:
    parser = argument_parser(__doc__)
    add_compute_options(parser)
    parser.add_argument("--base", type=Path, required=True, help="checkpoint folder of the model")
    parser.add_argument("--tokens", type=Path, required=True, help="Parquet file of one split's tokens")
    parser.add_argument("--trained-blocks", type=int, required=True, help="last blocks that are trained, so not run")
    parser.add_argument("--max-length", type=int, required=True, help="tokens read of a text; 0: all the context holds")
    parser.add_argument("--limit-gb", type=float, required=True, help="a larger file is not stored")
    parser.add_argument("--output", type=Path, required=True, help="NumPy file to write")
    arguments = parser.parse_args()
    write_features(
        arguments.base,
        arguments.tokens,
        arguments.trained_blocks,
        arguments.max_length or None,
        arguments.limit_gb,
        choose_compute(arguments.device, arguments.precision, arguments.threads),
        arguments.output,
    )


if __name__ == "__main__":
    run(main)
