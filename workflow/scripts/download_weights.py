"""Download a model's weights from the Hugging Face hub at a pinned revision, checksum verified."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.limits import Limits
from gptsmith.config.models import HuggingFace
from gptsmith.config.sources import Source
from gptsmith.sources.fetch import fetch_file


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: repo, revision, sha256")
    parser.add_argument("--mirror", default="", help="directory or URL with copies as <host>/<path>")
    parser.add_argument("--limits", default="{}", help="JSON of execution.limits, as in the config")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    limits = Limits.model_validate_json(arguments.limits)
    weights = HuggingFace.model_validate_json(arguments.settings)
    source = Source(url=weights.url, sha256=weights.sha256)
    fetch_file([source], arguments.output, mirror=arguments.mirror or None, limits=limits)


if __name__ == "__main__":
    run(main)
