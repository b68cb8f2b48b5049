"""Take the wanted file out of a downloaded or local archive, checksum verified."""

from pathlib import Path

from pydantic import TypeAdapter

from gptsmith.command import argument_parser, run
from gptsmith.config.limits import Limits
from gptsmith.config.sources import Sources
from gptsmith.sources.fetch import extract_source, read_record, record_path


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON list of sources, as in the config")
    parser.add_argument("--archive", type=Path, required=True, help="archive, or the file itself")
    parser.add_argument("--limits", default="{}", help="JSON of execution.limits, as in the config")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    arguments = parser.parse_args()
    limits = Limits.model_validate_json(arguments.limits)
    source = TypeAdapter(Sources).validate_json(arguments.settings)[0]
    if source.path is None:
        source = read_record(record_path(arguments.archive))
    extract_source(arguments.archive, source, arguments.output, limits)


if __name__ == "__main__":
    run(main)
