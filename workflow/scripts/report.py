"""One self-contained HTML file that says what was done and how good the result is."""

import json
from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.report.build import build_report


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON of the config, without its execution section")
    parser.add_argument("--runs", nargs="*", required=True, help="names of the runs, in their order")
    parser.add_argument("--prepared", type=Path, nargs="+", required=True, help="report.json of each dataset")
    parser.add_argument("--comparisons", type=Path, nargs="*", default=[], help="comparisons.json of datasets")
    parser.add_argument("--verifications", type=Path, nargs="*", default=[], help="verification.json of each model")
    parser.add_argument("--pretraining", type=Path, nargs="*", default=[], help="history.parquet of pretrained models")
    parser.add_argument("--stages", type=Path, nargs="*", default=[], help="Snakemake's benchmark files that are there")
    parser.add_argument("--estimate", type=Path, nargs="?", help="estimate.json of gptsmith check")
    parser.add_argument("--ablation", type=Path, nargs="?", help="summary.json of the ablation")
    parser.add_argument("--variants", type=Path, nargs="*", default=[], help="provenance.json of its trainings")
    parser.add_argument("--folders", type=Path, nargs="*", default=[], help="all that the run left on the disk")
    parser.add_argument("--output", type=Path, required=True, help="HTML file, in the folder of the results")
    arguments = parser.parse_args()
    settings = json.loads(arguments.settings)
    if arguments.runs:
        settings["runs"] = {run: settings["runs"][run] for run in arguments.runs}
    build_report(
        settings["name"],
        settings,
        arguments.output.parent,
        prepared={path.parent.name: path for path in arguments.prepared},
        compared=arguments.comparisons,
        stages=[path for path in arguments.stages if path.is_file()],
        verifications={path.parent.name: path for path in arguments.verifications},
        pretraining={path.parent.name: path for path in arguments.pretraining},
        output=arguments.output,
        estimate=arguments.estimate,
        folders=arguments.folders,
        ablated=arguments.ablation,
        variants=arguments.variants,
    )


if __name__ == "__main__":
    run(main)
