"""Metrics of one seed's predictions or responses, with intervals."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.evaluation import Evaluation
from gptsmith.data.prepared import read_report
from gptsmith.evaluation.classification import evaluate_classification
from gptsmith.evaluation.instructions import evaluate_instructions


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the config's evaluation section")
    parser.add_argument("--answers", type=Path, required=True, help="predictions.parquet or responses.jsonl")
    parser.add_argument("--judgements", type=Path, help="judgements.jsonl of these responses, where there is a judge")
    parser.add_argument("--prepared-report", type=Path, required=True, help="report.json of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    settings = Evaluation.model_validate_json(arguments.settings)
    report = read_report(arguments.prepared_report.parent)
    if report["task"] == "classification":
        evaluate_classification(arguments.answers, report["positive_label"], settings, arguments.output)
    else:
        evaluate_instructions(arguments.answers, settings, arguments.output, arguments.judgements)


if __name__ == "__main__":
    run(main)
