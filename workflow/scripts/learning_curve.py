"""A run's leading metric by how much of the training split was learned from."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.evaluation import Evaluation
from gptsmith.data.prepared import read_report
from gptsmith.evaluation.learning_curve import trace_learning_curve
from gptsmith.evaluation.trials import ANSWERS

WHOLE = ANSWERS | {"instruction": "responses.jsonl"}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the config's evaluation section")
    parser.add_argument("--name", required=True, help="name of the run")
    parser.add_argument("--shares", type=float, nargs="+", required=True, help="of the training split, below 1")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="of each share")
    parser.add_argument("--prepared", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument("--results", type=Path, required=True, help="folder of the run's results")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    task, seeds = read_report(arguments.prepared)["task"], arguments.seeds
    folders = {share: arguments.results / "learning-curve" / f"share-{share}" for share in arguments.shares}
    answers = {
        share: {seed: folder / f"seed-{seed}" / ANSWERS[task] for seed in seeds} for share, folder in folders.items()
    }
    answers[1.0] = {seed: arguments.results / f"seed-{seed}" / WHOLE[task] for seed in seeds}
    trace_learning_curve(
        run=arguments.name,
        prepared=arguments.prepared,
        answers=answers,
        provenance={share: files[seeds[0]].with_name("provenance.json") for share, files in answers.items()},
        settings=Evaluation.model_validate_json(arguments.settings),
        output=arguments.output,
    )


if __name__ == "__main__":
    run(main)
