"""How probable a model finds given responses."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from gptsmith.errors import UserError
from gptsmith.generation.decoding import float32_logits
from gptsmith.model.heads import LanguageModel
from gptsmith.training.examples import common_beginning

POSITIONS_AT_ONCE = 1024
"""Logits of this many positions are in memory at a time: 206 MB over GPT-2's vocabulary."""


@torch.no_grad()  # inference_mode would let autocast convert the weights anew at every step
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
                f"takes a prompt of at least 1 and at most {context_length} (its context_length) together. Lower the "
                "dataset's max_characters, which leaves out what is longer"
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
    # The last position of a prompt is the first that predicts: it is left out of what is shared.
    n_shared = common_beginning([prompt[:-1] for prompt in prompts]) if len(prompts) > 1 else 0
    hidden = _last_hidden_state(model, pad_sequence(texts, batch_first=True).to(device), n_shared)
    predicting = [
        hidden[row, len(prompt) - 1 - n_shared : len(prompt) + len(response) - n_shared]
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
    ]
    targets = torch.cat([torch.tensor([*response, end_of_text]) for response in responses]).to(device)
    return summed_losses(model, torch.cat(predicting), targets, [len(response) + 1 for response in responses])


def summed_losses(model: LanguageModel, hidden: Tensor, targets: Tensor, lengths: list[int]) -> list[tuple[float, int]]:
    """hidden [positions, d_model], targets [positions]: of so many positions each, the loss in nats, summed, and how
    many they are."""
    parts = zip(hidden.split(POSITIONS_AT_ONCE), targets.split(POSITIONS_AT_ONCE), strict=True)
    losses = [functional.cross_entropy(float32_logits(model, part), of, reduction="none") for part, of in parts]
    return [(one.sum().item(), len(one)) for one in torch.cat(losses).cpu().double().split(lengths)]


def _last_hidden_state(model: LanguageModel, input_ids: Tensor, n_shared: int) -> Tensor:
    """input_ids [batch, length] -> [batch, length - n_shared, d_model]: all rows begin with the same `n_shared`
    tokens, which are computed once."""
    if n_shared == 0:
        return model.trunk(input_ids)
    _, rest = model.trunk.upper_shared(model.trunk.lower(input_ids, 0), 0, n_shared)
    return rest
