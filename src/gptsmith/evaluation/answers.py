"""Reading what models answered to instructions, and how a judge graded it."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, ValidationError

from gptsmith.errors import UserError


class Response(BaseModel):
    """A line of responses.jsonl."""

    model_config = ConfigDict(frozen=True)

    id: int
    category: str
    reference: str
    response: str
    negative_log_likelihood: FiniteFloat
    """In nats, summed over the reference's tokens and end-of-text."""
    target_tokens: PositiveInt
    """How many tokens that are."""
    instruction: str
    input: str
    finish_reason: Literal["stop", "length"]


class Judgement(BaseModel):
    """A line of judgements.jsonl."""

    model_config = ConfigDict(frozen=True)

    id: int
    score: Annotated[int, Field(ge=0, le=100)] | None
    """None where the answer is not a number from 0 to 100."""
    answer: str
    """The judge's, as it came."""


Line = TypeVar("Line", Response, Judgement)


def response_rows(path: Path) -> pd.DataFrame:
    """Read responses.jsonl, sorted by id.

    Raises UserError with the line that does not keep to the contract, and for a file without lines.
    """
    return _read(path, Response, "no responses; give the dataset a larger split.test")


def judgement_rows(path: Path) -> pd.DataFrame:
    """Read judgements.jsonl, sorted by id, scores as float with NaN for none; raises UserError like response_rows."""
    return _read(path, Judgement, "no judgements; delete the file and run again").astype({"score": "float64"})


def _read(path: Path, contract: type[Line], without_lines: str) -> pd.DataFrame:
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                rows.append(contract.model_validate_json(line).model_dump())
            except ValidationError as error:
                problem = error.errors()[0]
                place = ".".join(str(part) for part in problem["loc"]) or "line"
                raise UserError(f"{path}, line {number}: {place}: {problem['msg']}") from error
    if not rows:
        raise UserError(f"{path}: {without_lines}")
    frame = pd.DataFrame(rows)
    repeated = frame["id"].duplicated()
    if repeated.any():
        raise UserError(f"{path}, line {repeated.argmax() + 1}: id {frame['id'][repeated.argmax()]} occurs twice")
    return frame.sort_values("id", ignore_index=True)
