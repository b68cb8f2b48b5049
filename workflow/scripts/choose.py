"""Choose among the combinations of a run's grid by the validation split."""

import json
from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.data.prepared import read_report
from gptsmith.evaluation.choosing import choose


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--name", required=True, help="name of the run")
    parser.add_argument("--members", required=True, help="JSON: what is varied, by name of the combination")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="of each combination")
    parser.add_argument("--prepared-report", type=Path, required=True, help="report.json of the prepared dataset")
    parser.add_argument("--results", type=Path, required=True, help="folder with a folder for each combination")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    report = read_report(arguments.prepared_report.parent)
    choose(
        run=arguments.name,
        task=report["task"],
        positive_label=report.get("positive_label"),
        members=json.loads(arguments.members),
        seeds=arguments.seeds,
        results=arguments.results,
        output=arguments.output,
    )


if __name__ == "__main__":
    run(main)
