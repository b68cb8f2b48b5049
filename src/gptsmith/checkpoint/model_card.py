"""README.md of an exported model: what it is, how it is used, what was measured."""

import json
from typing import Any

from gptsmith.checkpoint.configuration import FineTuning
from gptsmith.checkpoint.names import family_of
from gptsmith.config.architecture import Architecture

USE = {
    "text-classification": """\
from transformers import pipeline

classify = pipeline("text-classification", model="FOLDER", top_k=None)
print(classify(["a text", "another"], truncation=True))
""",
    "text-generation": """\
from transformers import pipeline

answer = pipeline("text-generation", model="FOLDER")
print(answer([{"role": "user", "content": "an instruction"}])[0]["generated_text"][-1]["content"])
""",
}
METRICS = ("accuracy", "f1", "roc_auc", "loss", "perplexity", "exact_match", "rouge_l", "chrf")

FAMILY_NAMES = {"gpt2": "GPT-2", "llama": "Llama"}


def model_card(
    architecture: Architecture,
    labels: list[str] | None,
    fine_tuning: FineTuning | None,
    summary: dict[str, Any] | None,
) -> str:
    """Markdown with the front matter that hubs read. `labels`: of a classifier, None for a language model;
    `summary`: of the run, as in its summary.json."""
    family = family_of(architecture)
    task = "text-generation" if labels is None else "text-classification"
    parts = [
        f"---\nlibrary_name: transformers\npipeline_tag: {task}\ntags:\n- {family}\n- gptsmith\n---\n",
        f"# A {FAMILY_NAMES[family]} for {task.replace('-', ' ')}\n",
        f"{architecture.n_parameters:,} parameters: {architecture.n_layers} blocks of width {architecture.d_model}, "
        f"{architecture.n_heads} heads, a context of {architecture.context_length} tokens, "
        f"{architecture.vocab_size:,} tokens in the vocabulary. Fine-tuned with gptsmith.\n",
    ]
    if labels is not None:
        parts.append(f"Labels:\n\n{_code(labels)}")
        if fine_tuning is not None:
            parts.append(f"Texts were cut to {fine_tuning.max_length} tokens; `truncation=True` does the same.\n")
    elif fine_tuning is not None and fine_tuning.prompt is not None:
        wording = "the chat format of its tokenizer. It"
        if fine_tuning.prompt != "chat":
            wording = f"the wording `{fine_tuning.prompt}`, which the chat template writes. It has no system role and"
        parts.append(
            f"Fine-tuned on single instructions in {wording} has not learned from conversations of several turns.\n"
        )
    parts.append(f"## Use\n\n```python\n{USE[task]}```\n")
    if summary is not None:
        parts.append(_results(summary))
    return "\n".join(parts)


def _results(summary: dict[str, Any]) -> str:
    """Names come from configs and labels from data: as JSON they cannot be taken for markup."""
    rows = [
        f"| {name} | {metric['mean']:.3f} | {metric['low']:.3f} to {metric['high']:.3f} |"
        for name, metric in summary["metrics"].items()
        if name in METRICS and None not in (metric["mean"], metric["low"], metric["high"])
    ]
    told = {key: summary[key] for key in ("dataset", "model", "run", "seeds")}
    return (
        f"## Results\n\nOn {summary['rows']:,} test texts, mean over the seeds, with the 95% interval of a bootstrap "
        "over the texts:\n\n| metric | value | interval |\n|---|---|---|\n"
        + "".join(f"{row}\n" for row in rows)
        + f"\n{_code(told)}"
    )


def _code(value: Any) -> str:
    return f"    {json.dumps(value, ensure_ascii=False)}\n"
