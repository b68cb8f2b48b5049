"""Fetch a published vocabulary and its merges, checksums verified."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.conventions import MERGES, VOCABULARY
from gptsmith.config.limits import Limits
from gptsmith.config.tokenizers import Tokenizer
from gptsmith.sources.fetch import fetch_file
from gptsmith.tokenizer.files import write_conventions


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON of the tokenizer, as in the config")
    parser.add_argument("--mirror", default="", help="directory or URL with copies as <host>/<path>")
    parser.add_argument("--limits", default="{}", help="JSON of execution.limits, as in the config")
    parser.add_argument("--output", type=Path, required=True, help="folder for vocab.json and merges.txt")
    arguments = parser.parse_args()
    limits = Limits.model_validate_json(arguments.limits)
    tokenizer = Tokenizer.model_validate_json(arguments.settings)
    for sources, file in ((tokenizer.vocab, VOCABULARY), (tokenizer.merges, MERGES)):
        fetch_file(sources or [], arguments.output / file, mirror=arguments.mirror or None, limits=limits)
    write_conventions(tokenizer.conventions, arguments.output)


if __name__ == "__main__":
    run(main)
