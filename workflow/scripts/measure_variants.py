"""What a training step of each variant of an ablation costs: time and memory."""

import json
from pathlib import Path

from gptsmith.command import add_compute_options, argument_parser, run
from gptsmith.config.architecture import Architecture
from gptsmith.config.models import Pretrain
from gptsmith.training.compute import choose_compute
from gptsmith.training.step_costs import measure_variants


def main() -> None:
    parser = argument_parser(__doc__)
    add_compute_options(parser)
    parser.add_argument("--compile", choices=("auto", "always", "never"), default="auto", help="the model's blocks")
    parser.add_argument("--pretrain", required=True, help="JSON of the model's pretraining, as in the config")
    parser.add_argument("--architectures", required=True, help="JSON of the shapes, by variant")
    parser.add_argument("--tokens", type=Path, required=True, help="folder with a folder of tokens for each dataset")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    compute = choose_compute(arguments.device, arguments.precision, arguments.threads, compile_blocks=arguments.compile)
    measure_variants(
        Pretrain.model_validate_json(arguments.pretrain),
        {name: Architecture.model_validate(shape) for name, shape in json.loads(arguments.architectures).items()},
        compute,
        arguments.tokenizer,
        arguments.tokens,
        arguments.output,
    )


if __name__ == "__main__":
    run(main)
