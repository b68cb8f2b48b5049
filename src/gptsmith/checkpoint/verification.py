"""Is a checkpoint the model it is said to be? Compares our logits with those of transformers."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from gptsmith.checkpoint.files import load_language_model
from gptsmith.checkpoint.names import TRUNK_PREFIX
from gptsmith.errors import UserError
from gptsmith.files import write_json
from gptsmith.model.heads import LanguageModel

TOLERANCE = 1e-4
LENGTHS = (1, 2, 7, 16, 33, 64)


@torch.inference_mode()
def verify_checkpoint(folder: Path, original: Path | None, output: Path) -> None:
    """Compare the logits of the language model in `folder` with transformers' GPT2LMHeadModel, in float32 on
    fixed input_ids of several lengths, and write the differences as JSON.

    An architecture that is no GPT-2 is compared with GPT-2's attention in place of its own: that shows whether the
    weights are the right ones, and not whether its own attention is.

    original: the file that the checkpoint was made from, in whichever layout; transformers then gets its
    weights from there, past all of our own reading and writing. None: it loads `folder` by itself.

    Raises UserError when a logit differs by more than 1e-4 of the largest.
    """
    # Its import takes seconds, which whoever only imports this module should not pay.
    import transformers

    transformers.logging.disable_progress_bar()
    ours = load_language_model(folder)
    is_gpt2 = ours.architecture.is_gpt2
    if not is_gpt2:
        gpt2 = LanguageModel(ours.architecture.model_copy(update={"attention": "explicit"})).eval()
        gpt2.load_state_dict(ours.state_dict())
        ours = gpt2
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    if original is not None:
        _fill(theirs, original)

    generator = torch.Generator().manual_seed(0)
    lengths = [length for length in LENGTHS if length <= ours.architecture.context_length]
    differences, magnitudes = [], []
    for length in lengths:
        input_ids = torch.randint(ours.architecture.vocab_size, (2, length), generator=generator)
        expected = theirs(input_ids).logits
        differences.append((ours(input_ids) - expected).abs().max())
        magnitudes.append(expected.abs().max())
    max_difference, largest_logit = torch.stack(differences).max().item(), torch.stack(magnitudes).max().item()
    relative = max_difference / largest_logit
    # Written so that a NaN fails too.
    if not relative <= TOLERANCE:
        raise UserError(
            f"{folder}: the logits differ from those of transformers by {max_difference:g}, that is {relative:g} of "
            f"the largest ({TOLERANCE:g} allowed): the weights do not belong to this architecture or are damaged"
        )
    write_json(
        output,
        {
            "max_difference": max_difference,
            "largest_logit": largest_logit,
            "relative": relative,
            "positions": 2 * sum(lengths),
            "transformers": transformers.__version__,
            "weights_alone": not is_gpt2,
        },
    )


def _fill(model: Any, original: Path) -> None:
    """Give transformers' `model` (a GPT2LMHeadModel) the weights of `original`."""
    state: dict[str, Tensor] = {}
    for name, tensor in load_file(original).items():
        bare = name.removeprefix(TRUNK_PREFIX)
        if not bare.endswith((".attn.bias", ".attn.masked_bias")):
            state[bare if bare.startswith("lm_head.") else TRUNK_PREFIX + bare] = tensor
    missing, unexpected = model.load_state_dict(state, strict=False)
    # A tied head comes with the token embedding.
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    if set(missing) - tied or unexpected:
        raise UserError(f"{original}: transformers misses {missing[:3]} and does not know {unexpected[:3]}")
