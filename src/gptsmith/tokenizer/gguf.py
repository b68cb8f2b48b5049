"""The tokenizer in a GGUF file, with its special tokens and its chat format."""

from pathlib import Path

import numpy as np

from gptsmith.config.conventions import Conventions
from gptsmith.errors import UserError
from gptsmith.sources.gguf import Header, read_header
from gptsmith.tokenizer.bpe import BytePairEncoding
from gptsmith.tokenizer.files import encoding_of, write_tokenizer

# llama.cpp's names of how text is cut before merging, and ours.
PRETOKENS = {"gpt-2": "gpt2", "smollm": "smollm"}
# Its kinds of tokens: "unused" ones make the number of tokens a round one.
NORMAL, CONTROL, UNUSED = 1, 3, 5


def extract_tokenizer(path: Path, folder: Path) -> None:
    """Write the tokenizer files of a GGUF file into `folder`. Raises UserError as `read_gguf_tokenizer` does."""
    write_tokenizer(read_gguf_tokenizer(path), folder)


def read_gguf_tokenizer(path: Path) -> BytePairEncoding:
    """Raises UserError for a file that is no GGUF, is damaged, or has another kind of tokenizer."""
    header = read_header(path)
    tokens, special = _tokens(header)
    conventions = _conventions(header, tokens, special)
    ids, merges = {token: i for i, token in enumerate(tokens)}, header.get("tokenizer.ggml.merges", list)
    return encoding_of(ids, merges, conventions, f"{path}, its tokens", f"{path}, its merges")


def _tokens(header: Header) -> tuple[list[str], list[str]]:
    """All of them, and those that are special."""
    if (model := header.get("tokenizer.ggml.model", str)) != "gpt2":
        named = " (SentencePiece)" if model == "llama" else ""
        raise UserError(
            f"{header.path}: a tokenizer of the kind {model!r}{named}; only byte-level BPE ('gpt2') can be read"
        )
    tokens = header.get("tokenizer.ggml.tokens", list)
    kinds = header.get("tokenizer.ggml.token_type", np.ndarray).tolist()
    if len(kinds) != len(tokens):
        raise UserError(f"{header.path}: {len(tokens)} tokens, but tokenizer.ggml.token_type has {len(kinds)}")
    while kinds and kinds[-1] == UNUSED:
        kinds.pop()
    tokens = tokens[: len(kinds)]
    seen: set[str] = set()
    for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind not in (NORMAL, CONTROL):
            raise UserError(
                f"{header.path}: token {i} ({token!r}) is of the kind {kind}; only {NORMAL} and {CONTROL} can be read"
            )
        if not token or token in seen:
            raise UserError(f"{header.path}: token {i} ({token!r}) is {'there twice' if token else 'empty'}")
        seen.add(token)
    return tokens, [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]


def _conventions(header: Header, tokens: list[str], special: list[str]) -> Conventions:
    if (pretokens := header.get("tokenizer.ggml.pre", str)) not in PRETOKENS:
        raise UserError(f"{header.path}: tokenizer.ggml.pre is {pretokens!r}; known are {', '.join(PRETOKENS)}")
    if header.get("tokenizer.ggml.add_bos_token", bool, default=False):
        raise UserError(f"{header.path}: tokenizer.ggml.add_bos_token is set, but no token is put before texts here")
    end = header.get("tokenizer.ggml.eos_token_id", int)
    if not 0 <= end < len(tokens) or tokens[end] not in special:
        raise UserError(f"{header.path}: tokenizer.ggml.eos_token_id is {end}, which is no special token")
    template = "tokenizer.chat_template"
    return Conventions.model_validate(
        {
            "pretokens": PRETOKENS[pretokens],
            "end_of_text": tokens[end],
            "other_special_tokens": [token for token in special if token != tokens[end]],
            "chat_template": header.get(template, str) if template in header.values else None,
        }
    )
