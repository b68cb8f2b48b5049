"""Bring back what the pointer files of this commit name, from the cache or the remote."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.versions.contents import parse_contents
from gptsmith.versions.storage import restore


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--contents", required=True, help="JSON: what the config makes (gptsmith.versions.contents)")
    parser.add_argument("--remote", help="folder or URL; without it DVC's default remote")
    parser.add_argument("--endpoint", help="URL of the server of an s3:// remote")
    arguments = parser.parse_args()
    contents = parse_contents(arguments.contents)
    replaced = restore(Path.cwd(), contents, arguments.remote, arguments.endpoint)
    print("\n".join([f"replaced: {unit}" for unit in replaced] + ["Restored."]))


if __name__ == "__main__":
    run(main)
