"""Download a file of weights, checksum verified."""

from pathlib import Path

from pydantic import TypeAdapter

from gptsmith.command import argument_parser, run
from gptsmith.config.limits import Limits
from gptsmith.config.sources import Sources
from gptsmith.sources.fetch import fetch_file


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--sources", required=True, help="JSON of the places that hold it, as in the config")
    parser.add_argument("--mirror", default="", help="directory or URL with copies as <host>/<path>")
    parser.add_argument("--limits", default="{}", help="JSON of execution.limits, as in the config")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    arguments = parser.parse_args()
    limits = Limits.model_validate_json(arguments.limits)
    sources = TypeAdapter(Sources).validate_json(arguments.sources)
    fetch_file(sources, arguments.output, mirror=arguments.mirror or None, limits=limits)


if __name__ == "__main__":
    run(main)
