"""Classify the texts of some splits with a fine-tuned classifier."""

from pathlib import Path

from gptsmith.command import add_compute_options, argument_parser, run
from gptsmith.generation.predictions import write_predictions
from gptsmith.training.compute import choose_compute


def main() -> None:
    parser = argument_parser(__doc__)
    add_compute_options(parser)
    parser.add_argument("--splits", nargs="+", required=True, help="which texts, such as: validation test")
    parser.add_argument("--trained-blocks", type=int, required=True, help="blocks above those of the features")
    parser.add_argument("--features", default="", help="folder of the frozen blocks' features; empty: none stored")
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of the classifier")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of the tokens")
    parser.add_argument("--prepared", type=Path, required=True, help="folder of the prepared splits")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    arguments = parser.parse_args()
    compute = choose_compute(arguments.device, arguments.precision, arguments.threads)
    write_predictions(
        arguments.checkpoint,
        arguments.tokens,
        arguments.prepared,
        arguments.splits,
        Path(arguments.features) if arguments.features else None,
        arguments.trained_blocks,
        compute,
        arguments.output,
    )


if __name__ == "__main__":
    run(main)
