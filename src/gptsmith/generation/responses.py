"""The stage that lets a model answer the test split of an instruction dataset."""

import json
from pathlib import Path

import pyarrow as pa

from gptsmith.config.generation import Generation
from gptsmith.errors import UserError
from gptsmith.files import write_text
from gptsmith.generation.generate import generate
from gptsmith.generation.likelihood import response_likelihood
from gptsmith.model.heads import LanguageModel
from gptsmith.tokenizer.fast import Tokenizer
from gptsmith.tokenizer.tokens import Tokens, check_same_tokenizer
from gptsmith.training.compute import Compute


def write_responses(
    model: LanguageModel,
    tokenizer: Tokenizer,
    rows: pa.Table,
    tokens: Tokens,
    settings: Generation,
    compute: Compute,
    output: Path,
) -> None:
    """Write responses.jsonl: one JSON object a line and row, with the model's response and how likely it
    finds the reference.

    rows: the prepared test split (id, instruction, input, output, category); tokens: the same rows as ids.

    Raises UserError when the two are not of the same rows, when `tokens` are another tokenizer's, and
    when an item does not fit the model's context (see generate, response_likelihood).
    """
    check_same_tokenizer(tokens, tokenizer)
    entries = rows.to_pylist()
    ids = tokens.ids.tolist()
    if tokens.prompt_lengths is None or ids != [entry["id"] for entry in entries]:
        raise UserError(f"{tokens.path}: not the rows of the prepared dataset's test split; tokenize the dataset again")
    prompts = [tokens[row][:length].tolist() for row, length in enumerate(tokens.prompt_lengths)]
    references = [tokens[row][length:].tolist() for row, length in enumerate(tokens.prompt_lengths)]

    model.eval().to(compute.device)
    # Around everything: in one context, autocast converts each weight once instead of at every step.
    with compute.autocast():
        likelihoods = response_likelihood(model, prompts, references, tokenizer.end_of_text, settings.batch_size, ids)
        responses = generate(model, prompts, settings, tokenizer.vocabulary, ids)
    lines = []
    for entry, response, (nll, target_tokens) in zip(entries, responses, likelihoods, strict=True):
        line = {
            "id": entry["id"],
            "instruction": entry["instruction"],
            "input": entry["input"],
            "category": entry["category"],
            "reference": entry["output"],
            "response": tokenizer.decode(response.input_ids),
            "finish_reason": response.finish_reason,
            "negative_log_likelihood": nll,
            "target_tokens": target_tokens,
        }
        lines.append(json.dumps(line, ensure_ascii=False, allow_nan=False))
    write_text(output, "".join(f"{line}\n" for line in lines))
