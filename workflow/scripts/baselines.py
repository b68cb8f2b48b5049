"""What simple methods answer on the test split: the figures a model has to beat."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.evaluation.baselines import classification_baselines, instruction_baselines

BASELINES = {"classification": classification_baselines, "instruction": instruction_baselines}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--task", choices=BASELINES, required=True, help="what the dataset is for")
    parser.add_argument("--prepared", type=Path, required=True, help="folder of the prepared splits")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    arguments = parser.parse_args()
    BASELINES[arguments.task](arguments.prepared, arguments.output)


if __name__ == "__main__":
    run(main)
