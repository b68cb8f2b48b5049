"""How probable a model finds given responses."""

from collections.abc import Sequence

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from gptsmith.errors import UserError
from gptsmith.model.heads import LanguageModel


@torch.inference_mode()
def response_likelihood(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    end_of_text: int,
    batch_size: int,
    ids: Sequence[int],
) -> list[tuple[float, int]]:
    """For each prompt and response (token ids): the negative log-likelihood in nats of the response's tokens
    and the end-of-text after them, given the prompt, summed; and how many tokens that are.

    `model` in evaluation mode. ids name the items in errors.

    Raises UserError for an empty prompt, and where prompt and response do not fit the context length.
    """
    context_length = model.architecture.context_length
    for prompt, response, item in zip(prompts, responses, ids, strict=True):
        if not 1 <= len(prompt) <= context_length - len(response):
            raise UserError(
                f"item {item}: its prompt has {len(prompt)} tokens and its response {len(response)}; the model "
                f"takes a prompt of at least 1 and at most {context_length} (its context_length) together"
            )
    by_length = sorted(range(len(prompts)), key=lambda item: len(prompts[item]) + len(responses[item]))
    likelihoods: dict[int, tuple[float, int]] = {}
    for start in range(0, len(by_length), batch_size):
        items = by_length[start : start + batch_size]
        batch = _batch_likelihood(model, [prompts[i] for i in items], [responses[i] for i in items], end_of_text)
        likelihoods.update(zip(items, batch, strict=True))
    return [likelihoods[item] for item in range(len(prompts))]


def _batch_likelihood(
    model: LanguageModel, prompts: list[Sequence[int]], responses: list[Sequence[int]], end_of_text: int
) -> list[tuple[float, int]]:
    device = model.trunk.embeddings.token.weight.device
    texts = [torch.tensor([*prompt, *response]) for prompt, response in zip(prompts, responses, strict=True)]
    hidden = model.trunk(pad_sequence(texts, batch_first=True).to(device))
    targets = [torch.tensor([*response, end_of_text]) for response in responses]
    # The last position of the prompt predicts the response's first token.
    predicting = [
        hidden[row, len(prompt) - 1 : len(prompt) + len(response)]
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
    ]
    logits = model.logits(torch.cat(predicting)).float()
    losses = functional.cross_entropy(logits, torch.cat(targets).to(device), reduction="none").cpu().double()
    lengths = [len(target) for target in targets]
    return [(part.sum().item(), len(part)) for part in losses.split(lengths)]
