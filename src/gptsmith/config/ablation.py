"""The same model pretrained again and again, with one of its parts in another shape each time."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, Field, NonNegativeInt

from gptsmith.config.architecture import Architecture
from gptsmith.config.names import Name
from gptsmith.config.problems import describe
from gptsmith.config.strict import STRICT

BASELINE = "baseline"
"""The model as it is, and its row."""

# All variants read the same tokens in the same windows, or their losses could not be compared.
FIXED = {"vocab_size": "the tokenizer gives it", "context_length": "all variants read the same windows"}


class Ablation(BaseModel):
    """The same model pretrained with each part swapped: same tokens, same seeds, one table (docs/parts.md)."""

    model_config = STRICT

    model: str
    """Name of a model with `pretrain`; as it is, it is the row `baseline`."""
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)] = [1, 2, 3]
    """Of new weights and of the order: one training of each variant for each of them."""
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    """Rows of the table: a name, and the keys of the model's `architecture` that are different there, such as
    `{norm: rms_norm}`."""

    def architectures(self, base: Architecture) -> dict[str, Architecture]:
        """Of each row, the baseline first; `base` is the model's. Raises pydantic's errors where there are problems."""
        settings = base.model_dump()
        changed = {name: Architecture.model_validate(settings | keys) for name, keys in self.variants.items()}
        return {BASELINE: base, **changed}

    def problems(self, base: Architecture) -> Iterator[str]:
        """What is wrong with the variants of a model of the shape `base`, a line each, with its place here."""
        if len(set(self.seeds)) < len(self.seeds):
            yield "seeds: a seed is named twice"
        earlier = {BASELINE: base}
        for name, changes in self.variants.items():
            yield from (f"variants.{name}: {problem}" for problem in _problems_of(name, changes, earlier))


def _problems_of(name: str, changes: Mapping[str, Any], earlier: dict[str, Architecture]) -> Iterator[str]:
    """`earlier`: the shapes of the rows above, to which its own is added."""
    base = earlier[BASELINE]
    if name == BASELINE:
        yield "the name is taken by the model as it is; choose another"
    if name.endswith(".json"):
        yield "the name of a folder beside files that end in .json; choose another"
    if fixed := [key for key in changes if key in FIXED]:
        yield from (f"{key}: cannot differ, {FIXED[key]}" for key in fixed)
        return
    raw = base.model_dump() | dict(changes)
    try:
        variant = Architecture.model_validate(raw)
    except pydantic.ValidationError as error:
        yield from (line for details in error.errors() for line in describe(details, raw, Architecture))
    else:
        if variant == base:
            yield "changes nothing: it would be the baseline again"
        elif same := [other for other, shape in earlier.items() if shape == variant]:
            yield f"is the same as {same[0]}; remove one of them"
        earlier.setdefault(name, variant)
