"""A run over its seeds: means with intervals, beside the baselines and the model before fine-tuning."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.evaluation import Evaluation
from gptsmith.config.runs import Run
from gptsmith.data.prepared import near_copies_in_train, read_report
from gptsmith.evaluation.summarize import summarize_classification, summarize_instructions


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the config's evaluation section")
    parser.add_argument("--name", required=True, help="name of the run")
    parser.add_argument("--run", required=True, help="JSON of the run, as in the config")
    parser.add_argument("--prepared-report", type=Path, required=True, help="report.json of the prepared dataset")
    parser.add_argument("--results", type=Path, required=True, help="folder with the run's seed-<seed> folders")
    parser.add_argument("--judged", action="store_true", help="each responses.jsonl has a judgements.jsonl beside it")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    settings = Evaluation.model_validate_json(arguments.settings)
    run_settings, results = Run.model_validate_json(arguments.run), arguments.results
    report = read_report(arguments.prepared_report.parent)
    common = {
        "run": arguments.name,
        "dataset": run_settings.dataset,
        "model": run_settings.model,
        "baselines": results / "baselines.parquet",
        "near_copies": near_copies_in_train(report, "test"),
        "settings": settings,
        "output": arguments.output,
    }
    if report["task"] == "classification":
        predictions = {seed: results / f"seed-{seed}" / "predictions.parquet" for seed in run_settings.seeds}
        summarize_classification(positive_label=report["positive_label"], predictions=predictions, **common)
    else:
        responses = {seed: results / f"seed-{seed}" / "responses.jsonl" for seed in run_settings.seeds}
        before = results / "before" / "responses.jsonl"
        judged = [before, *responses.values()] if arguments.judged else []
        judgements = {path: path.with_name("judgements.jsonl") for path in judged}
        summarize_instructions(responses=responses, before=before, judgements=judgements, **common)


if __name__ == "__main__":
    run(main)
