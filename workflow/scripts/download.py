"""Download a dataset's file from the first of its sources that works, checksum verified."""

from pathlib import Path

from pydantic import TypeAdapter

from gptsmith.command import argument_parser, run
from gptsmith.config.limits import Limits
from gptsmith.config.sources import Sources
from gptsmith.sources.fetch import download_source


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON list of sources, as in the config")
    parser.add_argument("--mirror", default="", help="directory or URL with copies as <host>/<path>")
    parser.add_argument("--limits", default="{}", help="JSON of execution.limits, as in the config")
    parser.add_argument("--output", type=Path, required=True, help="file to write; a record goes to <file>.json")
    arguments = parser.parse_args()
    limits = Limits.model_validate_json(arguments.limits)
    sources = TypeAdapter(Sources).validate_json(arguments.settings)
    download_source(
        sources, arguments.output, mirror=arguments.mirror or None, limits=limits, name=arguments.output.parent.name
    )


if __name__ == "__main__":
    run(main)
