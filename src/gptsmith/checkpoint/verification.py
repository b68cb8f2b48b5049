"""Is a checkpoint the model it is said to be? Compares our logits with those of transformers, where it has it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from gptsmith.checkpoint.files import load_language_model
from gptsmith.checkpoint.names import CONSTANTS, LANGUAGE_MODEL_HEAD, PREFIXES, family_of
from gptsmith.errors import UserError
from gptsmith.files import write_json
from gptsmith.model.attention import Attention, explicit_attention, fused_attention
from gptsmith.model.block import TransformerBlock
from gptsmith.model.heads import LanguageModel

TOLERANCE = 1e-4
LENGTHS = (1, 2, 7, 16, 33, 64)


@torch.inference_mode()
def verify_checkpoint(folder: Path, original: Path | None, output: Path) -> None:
    """Compare the logits of the language model in `folder` with those of transformers' GPT2LMHeadModel or
    LlamaForCausalLM, in float32 on fixed input_ids of several lengths, and write the differences as JSON.

    A model that transformers does not have is compared with itself, its attention computed step by step. Where its
    attention is one of its own, both sides have the usual one in its place, which shows whether the weights are whole,
    and nothing of the attention.

    original: the file that the checkpoint was made from, in whichever layout; transformers then gets its
    weights from there, past all of our own reading and writing. None: it loads `folder` by itself.

    Raises UserError when a logit differs by more than 1e-4 of the largest.
    """
    ours = load_language_model(folder)
    theirs: Logits
    has_own_attention = not ours.architecture.attends_to_all
    if family_of(ours.architecture) == "gptsmith":
        theirs, version = _with_attention(load_language_model(folder), explicit_attention), None
        ours = _with_attention(ours, fused_attention) if has_own_attention else ours
    else:
        theirs, version = _of_transformers(folder, original)

    generator = torch.Generator().manual_seed(0)
    lengths = [length for length in LENGTHS if length <= ours.architecture.context_length]
    differences, magnitudes = [], []
    for length in lengths:
        input_ids = torch.randint(ours.architecture.vocab_size, (2, length), generator=generator)
        expected = theirs(input_ids)
        differences.append((ours(input_ids) - expected).abs().max())
        magnitudes.append(expected.abs().max())
    max_difference, largest_logit = torch.stack(differences).max().item(), torch.stack(magnitudes).max().item()
    relative = max_difference / largest_logit
    # Written so that a NaN fails too.
    if not relative <= TOLERANCE:
        raise UserError(
            f"{folder}: the logits differ from those of {'transformers' if version else 'the explicit attention'} by "
            f"{max_difference:g}, that is {relative:g} of "
            f"the largest ({TOLERANCE:g} allowed): the weights do not belong to this architecture or are damaged"
        )
    write_json(
        output,
        {
            "max_difference": max_difference,
            "largest_logit": largest_logit,
            "relative": relative,
            "positions": 2 * sum(lengths),
            "transformers": version,
            "weights_alone": has_own_attention,
        },
    )


Logits = Callable[[Tensor], Tensor]


def _with_attention(model: LanguageModel, attention: Attention) -> LanguageModel:
    for block in model.trunk.blocks:
        cast(TransformerBlock, block).attention.attend = attention
    return model


def _of_transformers(folder: Path, original: Path | None) -> tuple[Logits, str]:
    """And its version."""
    # Its import takes seconds, which whoever only imports this module should not pay.
    import transformers

    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if original is not None:
        _fill(model, original)
    return lambda input_ids: model(input_ids).logits, transformers.__version__


def _fill(model: Any, original: Path) -> None:
    """Give transformers' language model the weights of `original`."""
    prefix = PREFIXES[model.config.model_type]
    state: dict[str, Tensor] = {}
    for name, tensor in load_file(original).items():
        if not CONSTANTS.fullmatch(name):
            state[name if name == LANGUAGE_MODEL_HEAD else prefix + name.removeprefix(prefix)] = tensor
    missing, unexpected = model.load_state_dict(state, strict=False)
    # A tied head comes with the token embedding.
    tied = {LANGUAGE_MODEL_HEAD} if model.config.tie_word_embeddings else set()
    if set(missing) - tied or unexpected:
        raise UserError(f"{original}: transformers misses {missing[:3]} and does not know {unexpected[:3]}")
