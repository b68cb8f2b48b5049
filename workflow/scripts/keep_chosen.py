"""Put the chosen combination of a grid, one seed of it, in the place of the run."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.evaluation.chosen import keep_chosen


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--chosen", type=Path, required=True, help="chosen.json of the run")
    parser.add_argument("--seed", type=int, required=True, help="which training of the combination")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder with the combinations' checkpoints")
    parser.add_argument("--results", type=Path, required=True, help="folder with the combinations' results")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--result", type=Path, required=True, help="folder for history and provenance")
    arguments = parser.parse_args()
    keep_chosen(
        arguments.chosen,
        arguments.seed,
        arguments.checkpoints,
        arguments.results,
        arguments.checkpoint,
        arguments.result,
    )


if __name__ == "__main__":
    run(main)
