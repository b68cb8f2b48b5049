"""Record what a config has made, and copy it to the remote."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.versions.contents import parse_contents
from gptsmith.versions.storage import push, track


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--contents", required=True, help="JSON: what the config makes (gptsmith.versions.contents)")
    parser.add_argument("--remote", help="folder or URL; without it DVC's default remote")
    parser.add_argument("--endpoint", help="URL of the server of an s3:// remote")
    arguments = parser.parse_args()
    contents = parse_contents(arguments.contents)
    track(Path.cwd(), contents)
    count = push(Path.cwd(), contents, arguments.remote, arguments.endpoint)
    place = arguments.remote or "the default remote of DVC"
    print(f"{count} new files in {place}" if count else f"All was in {place} already.")


if __name__ == "__main__":
    run(main)
