"""Fine-tune a base model on a tokenized dataset, for classification or for instructions."""

from pathlib import Path

from gptsmith.code_version import code_version
from gptsmith.command import add_training_options, argument_parser, run
from gptsmith.config.runs import Run
from gptsmith.training.compute import choose_compute
from gptsmith.training.distributed import process_group
from gptsmith.training.finetuning import FinetuneInputs, FinetuneOutputs, finetune
from gptsmith.training.launch import in_processes
from gptsmith.training.state import Saving


def main() -> None:
    parser = argument_parser(__doc__)
    add_training_options(parser)
    parser.add_argument("--name", required=True, help="name of the run, shown with the progress")
    parser.add_argument("--settings", required=True, help="JSON of the run, as in the config")
    parser.add_argument("--seed", type=int, required=True, help="seed of new weights, order and dropout")
    parser.add_argument("--share", type=float, default=1.0, help="of the training split, the same of every class")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of the tokens")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--base", type=Path, required=True, help="checkpoint folder to start from")
    parser.add_argument("--features", default="", help="folder of the frozen blocks' features; empty: none stored")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--history", type=Path, required=True, help="Parquet file for the course of the training")
    parser.add_argument("--provenance", type=Path, required=True, help="JSON file for where the result comes from")
    arguments = parser.parse_args()
    in_processes(arguments.processes, arguments.device)
    compute = choose_compute(
        arguments.device, arguments.precision, arguments.threads, arguments.sharding, arguments.compile
    )
    features = Path(arguments.features) if arguments.features else None
    saving = Saving.by(arguments, code_version(Path(__file__)))
    with process_group(compute.device):
        finetune(
            arguments.name,
            Run.model_validate_json(arguments.settings),
            arguments.seed,
            compute,
            FinetuneInputs(arguments.tokens, arguments.tokenizer, arguments.base, features),
            FinetuneOutputs(arguments.checkpoint, arguments.history, arguments.provenance),
            saving,
            arguments.share,
        )


if __name__ == "__main__":
    run(main)
