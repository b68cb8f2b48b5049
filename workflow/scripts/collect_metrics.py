"""Put the metrics of all runs into one file, for `dvc metrics`."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.evaluation.collect import collect_metrics


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--summaries", type=Path, nargs="*", required=True, help="summary.json of each run")
    parser.add_argument("--ablation", type=Path, nargs="?", help="summary.json of the ablation")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    collect_metrics(arguments.summaries, arguments.output, arguments.ablation)


if __name__ == "__main__":
    run(main)
