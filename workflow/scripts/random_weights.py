"""Write a language model with random weights: a start that has learned nothing."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.architecture import Architecture
from gptsmith.training.pretraining import write_random_model


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--architecture", required=True, help="JSON of the shape, as in the config")
    parser.add_argument("--seed", type=int, required=True, help="seed of the weights")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint folder to write")
    arguments = parser.parse_args()
    architecture = Architecture.model_validate_json(arguments.architecture)
    write_random_model(architecture, arguments.seed, arguments.tokenizer, arguments.output)


if __name__ == "__main__":
    run(main)
