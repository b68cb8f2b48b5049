"""What is made of the trunk's last hidden state: the next token, or a class."""

from torch import Tensor, nn
from torch.nn import functional

from gptsmith.config.architecture import Architecture
from gptsmith.model.gpt import GPT
from gptsmith.model.kv_cache import KeyValueCache


class LanguageModel(nn.Module):
    """Trunk and a linear map from the hidden state to a logit per token. The map is the token
    embedding itself when tied (Press & Wolf, "Using the Output Embedding ...", 2017)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.trunk = GPT(architecture)
        # A tied head has no parameter of its own: it is counted, saved and moved once.
        tied = architecture.tie_embeddings
        self.head = None if tied else nn.Linear(architecture.d_model, architecture.vocab_size, bias=False)

    @property
    def architecture(self) -> Architecture:
        return self.trunk.architecture

    def forward(self, input_ids: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """input_ids [batch, length] -> logits [batch, length, vocab_size], at every position.

        Where only some positions matter, `logits` of those hidden states saves most of the work.
        """
        return self.logits(self.trunk(input_ids, cache))

    def logits(self, hidden: Tensor) -> Tensor:
        """Last hidden states [..., d_model] -> logits of the next token [..., vocab_size]."""
        return functional.linear(hidden, self.output_embedding)

    @property
    def output_embedding(self) -> Tensor:
        """A row for each token [vocab_size, d_model]: its product with a last hidden state is the token's logit."""
        return self.trunk.embeddings.token.weight if self.head is None else self.head.weight


class Classifier(nn.Module):
    """Trunk and a bias-free linear map from the last real token's hidden state to a logit per class."""

    def __init__(self, architecture: Architecture, n_classes: int) -> None:
        super().__init__()
        self.trunk = GPT(architecture)
        self.score = nn.Linear(architecture.d_model, n_classes, bias=False)

    @property
    def architecture(self) -> Architecture:
        return self.trunk.architecture

    def forward(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """input_ids [batch, length] padded on the right with anything, lengths [batch] >= 1 without
        the padding -> logits [batch, n_classes], which do not depend on the padding."""
        return self.classify(self.trunk.lower(input_ids, 0), 0, lengths)

    def classify(self, hidden: Tensor, n_blocks: int, lengths: Tensor) -> Tensor:
        """`forward` from `hidden` [batch, length, d_model] on, as `trunk.lower(input_ids, n_blocks)` left it."""
        return self.score(self.trunk.upper_at(hidden, n_blocks, positions=lengths - 1))
