"""Answer the test instructions with a language model, and score the references under it."""

from pathlib import Path

from gptsmith.checkpoint.files import load_language_model
from gptsmith.command import add_compute_options, argument_parser, run
from gptsmith.config.generation import Generation
from gptsmith.config.runs import Run
from gptsmith.data.prepared import read_split
from gptsmith.generation.responses import write_responses
from gptsmith.tokenizer.fast import load_tokenizer
from gptsmith.tokenizer.tokens import read_tokens
from gptsmith.training.compute import choose_compute


def main() -> None:
    parser = argument_parser(__doc__)
    add_compute_options(parser)
    parser.add_argument("--settings", required=True, help="JSON of the run, as in the config")
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of the language model")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of the tokens")
    parser.add_argument("--prepared", type=Path, required=True, help="folder of the prepared splits")
    parser.add_argument("--output", type=Path, required=True, help="JSONL file to write")
    arguments = parser.parse_args()
    settings = Run.model_validate_json(arguments.settings).generation or Generation()
    compute = choose_compute(arguments.device, arguments.precision, arguments.threads)
    write_responses(
        load_language_model(arguments.checkpoint),
        load_tokenizer(arguments.tokenizer, arguments.tokenizer.name),
        read_split(arguments.prepared, "test"),
        read_tokens(arguments.tokens / "test.parquet"),
        settings,
        compute,
        arguments.output,
    )


if __name__ == "__main__":
    run(main)
