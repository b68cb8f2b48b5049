"""A language model that grades responses: which one, and what it is asked."""

import string
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, NonNegativeInt, StringConstraints

from gptsmith.config.strict import STRICT

PROMPT = """\
Grade the response to an instruction.

# Instruction
{instruction}

# Correct response
{reference}

# Response to grade
{response}

# Grade
Give a whole number from 0 to 100: 0 for a response that is wrong or says nothing, 100 for one that does all that the \
instruction asks and is as right as the correct response, whatever its wording. Answer with the number and nothing else.
"""
PLACEHOLDERS = {"instruction", "reference", "response"}
# Fields of a request that other settings decide, or that would bring an answer of another shape.
DECIDED = {"model", "messages", "seed", "stream", "n"}
SECRET = {"api_key", "authorization"}


KEY = "a key is read from GPTSMITH_JUDGE_KEY in the environment"


def _base_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"not a web address ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not a web address; it looks like http://localhost:11434/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"no names, passwords or keys here: {KEY}")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError("leave out /chat/completions at the end")
    return url.rstrip("/")


def _grading_prompt(prompt: str) -> str:
    try:
        parts = list(string.Formatter().parse(prompt))
    except ValueError as error:
        raise ValueError(f"{error}; write a brace that is no placeholder twice") from error
    # Format specs and conversions ({response:.9}, {response!r}) count as a part of the name, which is then unknown.
    fields = {f"{name}{conversion or ''}{spec}" for _, name, spec, conversion in parts if name is not None}
    if unknown := sorted(fields - PLACEHOLDERS):
        known = ", ".join(f"{{{name}}}" for name in sorted(PLACEHOLDERS))
        raise ValueError(f"unknown placeholder {{{unknown[0]}}}; known: {known}; write other braces twice")
    if "response" not in fields:
        raise ValueError("no {response} in it, so there is nothing to grade")
    return prompt


Parameter = bool | int | float | str | None


def _free_parameters(parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    if taken := sorted(DECIDED & parameters.keys()):
        raise ValueError(f"{taken[0]} cannot be set here")
    if secrets := sorted(name for name in parameters if name.lower() in SECRET):
        raise ValueError(f"{secrets[0]} cannot be set here: {KEY}")
    return parameters


class Judge(BaseModel):
    """A language model that grades the responses of all instruction runs, at any endpoint with OpenAI's chat API. Its
    key, where it wants one, is read from `GPTSMITH_JUDGE_KEY` in the environment and from nowhere else."""

    model_config = STRICT

    url: Annotated[str, AfterValidator(_base_address)]
    """Address of the endpoint, such as `http://localhost:11434/v1` (Ollama) or `http://localhost:8000/v1` (vLLM)."""
    model: Annotated[str, StringConstraints(min_length=1)]
    """The model's name there, such as `llama3`."""
    prompt: Annotated[str, AfterValidator(_grading_prompt)] = PROMPT
    """What it is asked of each response. `{instruction}` stands for the instruction with its input, `{reference}` and
    `{response}` for the two answers; the answer should be a whole number from 0 to 100 and nothing else."""
    seed: NonNegativeInt = 123
    """Sent with each request; an endpoint may ignore it."""
    parameters: Annotated[dict[str, Parameter], AfterValidator(_free_parameters)] = {}
    """More fields of each request, such as `max_tokens`; `null` leaves one out. Unless set here, temperature is 0."""
