"""Record what a config has made, in DVC's cache and in pointer files for git."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.versions.contents import parse_contents
from gptsmith.versions.storage import track, uncommitted


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--contents", required=True, help="JSON: what the config makes (gptsmith.versions.contents)")
    arguments = parser.parse_args()
    contents = parse_contents(arguments.contents)
    track(Path.cwd(), contents)
    if uncommitted(Path.cwd(), contents):
        print(f"This version is recorded. To keep it: git add '*.dvc' {contents.results} && git commit")


if __name__ == "__main__":
    run(main)
