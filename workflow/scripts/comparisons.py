"""The runs of one dataset, two by two on the same test items."""

import json
from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.evaluation import Evaluation
from gptsmith.data.prepared import read_report
from gptsmith.evaluation.comparisons import compare_classifications, compare_instructions


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the config's evaluation section")
    parser.add_argument("--runs", required=True, help="JSON: [run, seeds] of each run, in their order")
    parser.add_argument("--results", type=Path, required=True, help="folder with the folders of the runs")
    parser.add_argument("--prepared-report", type=Path, required=True, help="report.json of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    settings = Evaluation.model_validate_json(arguments.settings)
    report, dataset = read_report(arguments.prepared_report.parent), arguments.prepared_report.parent.name
    classifies = report["task"] == "classification"
    file = "predictions.parquet" if classifies else "responses.jsonl"
    runs = {
        name: [arguments.results / name / f"seed-{seed}" / file for seed in seeds]
        for name, seeds in json.loads(arguments.runs)
    }
    if classifies:
        compare_classifications(dataset, runs, report["positive_label"], settings, arguments.output)
    else:
        compare_instructions(dataset, runs, settings, arguments.output)


if __name__ == "__main__":
    run(main)
