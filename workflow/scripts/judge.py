"""Let a language model grade a model's responses; its key is read from GPTSMITH_JUDGE_KEY in the environment."""

from pathlib import Path

from gptsmith.command import argument_parser, run
from gptsmith.config.judge import Judge
from gptsmith.evaluation.judge import judge_responses
from gptsmith.sources.chat import key_in_environment
from gptsmith.sources.http import Patience


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the config's evaluation.judge")
    parser.add_argument("--responses", type=Path, required=True, help="responses.jsonl")
    parser.add_argument("--cache", type=Path, default=Path("cache/judge"), help="folder of the answers so far")
    parser.add_argument("--requests", type=int, default=4, help="sent at the same time")
    parser.add_argument("--seconds", type=int, default=120, help="longest wait for an answer")
    parser.add_argument("--output", type=Path, required=True, help="JSONL file to write; judge.json goes beside it")
    arguments = parser.parse_args()
    judge_responses(
        arguments.responses,
        Judge.model_validate_json(arguments.settings),
        key_in_environment(),
        arguments.cache,
        Patience(backoff=1, read=arguments.seconds),
        arguments.requests,
        arguments.output,
    )


if __name__ == "__main__":
    run(main)
