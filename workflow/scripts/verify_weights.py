"""Check that a checkpoint gives the logits that transformers gives."""

from pathlib import Path

from gptsmith.checkpoint.verification import verify_checkpoint
from gptsmith.command import argument_parser, run


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--original", type=Path, nargs="?", help="safetensors file that it was made of")
    parser.add_argument("--output", type=Path, required=True, help="JSON file with the differences")
    arguments = parser.parse_args()
    verify_checkpoint(arguments.checkpoint, arguments.original, arguments.output)


if __name__ == "__main__":
    run(main)
