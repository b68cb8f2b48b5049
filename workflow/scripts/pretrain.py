"""Pretrain a language model from random weights on the training splits of tokenized datasets."""

from pathlib import Path

from gptsmith.code_version import code_version
from gptsmith.command import add_training_options, argument_parser, run
from gptsmith.config.models import Model
from gptsmith.training.compute import choose_compute
from gptsmith.training.distributed import process_group
from gptsmith.training.launch import in_processes
from gptsmith.training.pretraining import PretrainOutputs, pretrain
from gptsmith.training.state import Saving


def main() -> None:
    parser = argument_parser(__doc__)
    add_training_options(parser)
    parser.add_argument("--name", required=True, help="name of the model, shown with the progress")
    parser.add_argument("--settings", required=True, help="JSON of the model, as in the config")
    parser.add_argument("--seed", type=int, required=True, help="seed of the weights and of the order")
    parser.add_argument("--tokens", type=Path, required=True, help="folder with a folder of tokens for each dataset")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--history", type=Path, required=True, help="Parquet file for the course of the training")
    parser.add_argument("--provenance", type=Path, required=True, help="JSON file for where the result comes from")
    arguments = parser.parse_args()
    in_processes(arguments.processes, arguments.device)
    compute = choose_compute(
        arguments.device, arguments.precision, arguments.threads, arguments.sharding, arguments.compile
    )
    saving = Saving.by(arguments, code_version(Path(__file__)))
    with process_group(compute.device):
        pretrain(
            arguments.name,
            Model.model_validate_json(arguments.settings),
            arguments.seed,
            compute,
            arguments.tokenizer,
            arguments.tokens,
            PretrainOutputs(arguments.checkpoint, arguments.history, arguments.provenance),
            saving,
        )


if __name__ == "__main__":
    run(main)
