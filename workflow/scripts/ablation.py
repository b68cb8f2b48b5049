"""One table of an ablation: loss, speed and memory of each variant, against the model as it is."""

import json
from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.evaluation import Evaluation
from gptsmith.evaluation.ablation import summarize_ablation


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the config's evaluation section")
    parser.add_argument("--model", required=True, help="name of the model that is varied")
    parser.add_argument("--split", required=True, help="the one that the losses are of, shown in the report")
    parser.add_argument("--variants", required=True, help="JSON: pairs of a name and what it changes, in order")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="of each variant")
    parser.add_argument("--results", type=Path, required=True, help="folder with a folder for each variant")
    parser.add_argument("--steps", type=Path, required=True, help="JSON file of measure_variants")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    summarize_ablation(
        model=arguments.model,
        split=arguments.split,
        variants=json.loads(arguments.variants),
        seeds=arguments.seeds,
        results=arguments.results,
        steps=arguments.steps,
        settings=Evaluation.model_validate_json(arguments.settings),
        output=arguments.output,
    )


if __name__ == "__main__":
    run(main)
