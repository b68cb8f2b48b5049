"""The whole config: one YAML file, checked at once, every problem named with its place."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

import pydantic
from pydantic import BaseModel, Field, NonNegativeInt, model_validator

from gptsmith.config.ablation import Ablation
from gptsmith.config.datasets import Dataset, InstructionDataset, splits_with_rows
from gptsmith.config.evaluation import Evaluation
from gptsmith.config.execution import Execution
from gptsmith.config.models import Model
from gptsmith.config.names import Name
from gptsmith.config.problems import describe, nearest
from gptsmith.config.runs import LastBlocks, Run
from gptsmith.config.strict import STRICT
from gptsmith.config.tokenizers import Tokenizer
from gptsmith.config.training import Precision
from gptsmith.errors import UserError


class Config(BaseModel):
    """What goes in, what is trained, what is measured."""

    model_config = STRICT

    name: Name
    """Names the results: `results/<name>/report.html`. This and all names are of letters, digits, `.`, `_` and `-`."""
    seed: NonNegativeInt = 123
    """Seed of the splits, of generated data, and of new base models and their pretraining."""
    precision: Precision = "auto"
    """`fp32` computes in 32 bits, `bf16` in bfloat16 where that is safe; `auto` is `bf16` on CUDA GPUs that have it."""
    execution: Execution = Execution()
    """How the work is carried out; changing it reruns nothing."""
    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    """The data, each set under a name of your choice."""
    tokenizers: Annotated[dict[Name, Tokenizer], Field(min_length=1)]
    """What cuts texts into tokens."""
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    """Language models to start from. One that no run uses costs nothing."""
    runs: dict[Name, Run] = {}
    """Fine-tunings, each with its evaluation. At least one, where there is no `ablation`."""
    ablation: Ablation | None = None
    """The same model pretrained with each of its parts swapped, in one table."""
    evaluation: Evaluation = Evaluation()
    """Intervals around the measured values."""

    @model_validator(mode="after")
    def _everything_refers_to_something(self) -> Self:
        problems = list(self._broken_references()) or list(self._impossible_runs())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def ablation_split(self) -> str | None:
        """Where the losses of the ablation are measured: on the test split, if one of the datasets has one, or else on
        the validation split, if one has that."""
        plan = self.models[self.ablation.model].pretrain if self.ablation else None
        splits = {split for name in (plan.datasets if plan else ()) for split in splits_with_rows(self.datasets[name])}
        return next((split for split in ("test", "validation") if split in splits), None)

    def _broken_references(self) -> Iterator[str]:
        for name, tokenizer in self.tokenizers.items():
            for dataset in tokenizer.train_on or []:
                yield from _unknown("dataset", dataset, self.datasets, f"tokenizers.{name}.train_on")
            if tokenizer.gguf is not None:
                yield from _unknown("model", tokenizer.gguf, self.models, f"tokenizers.{name}.gguf")
                if (model := self.models.get(tokenizer.gguf)) is not None and model.gguf is None:
                    yield f"tokenizers.{name}.gguf: {tokenizer.gguf} is in no GGUF file; name a model that has `gguf`"
        for name, model in self.models.items():
            yield from _unknown("tokenizer", model.tokenizer, self.tokenizers, f"models.{name}.tokenizer")
            for dataset in model.pretrain.datasets if model.pretrain else []:
                yield from _unknown("dataset", dataset, self.datasets, f"models.{name}.pretrain.datasets")
        for name, run in self.runs.items():
            yield from _unknown("dataset", run.dataset, self.datasets, f"runs.{name}.dataset")
            yield from _unknown("model", run.model, self.models, f"runs.{name}.model")
        if self.ablation is not None:
            yield from _unknown("model", self.ablation.model, self.models, "ablation.model")
        elif not self.runs:
            yield "runs: missing; name at least one run, or an ablation"

    def _impossible_runs(self) -> Iterator[str]:
        for name, model in self.models.items():
            if model.gguf is not None and self.tokenizers[model.tokenizer].is_trained:
                yield (
                    f"models.{name}.tokenizer: {model.tokenizer} is trained here, so its tokens are not the model's; "
                    f"name one with `gguf: {name}`, which is in the same file"
                )
            if model.pretrain is None or model.architecture is None:
                continue
            context, place = model.architecture.context_length, f"models.{name}.pretrain"
            yield from _too_long(model.pretrain.window, context, f"{place}.window")
            window = model.pretrain.window or context
            if (model.pretrain.stride or window) > window:
                yield f"{place}.stride: {model.pretrain.stride} tokens would skip text; at most the window, {window}"
        for name, run in self.runs.items():
            if name in RESERVED_TARGETS:
                yield f"runs.{name}: the name is taken by a rule of the pipeline; choose another"
            if len(set(run.seeds)) < len(run.seeds):
                yield f"runs.{name}.seeds: a seed is named twice"
            dataset = self.datasets[run.dataset]
            if run.grid and dataset.task != "text" and "validation" not in splits_with_rows(dataset):
                yield f"runs.{name}.grid: is chosen from on the validation split; give {run.dataset} a split.validation"
            own = list(self._impossible_settings(run))
            yield from (f"runs.{name}.{problem}" for problem in own)
            members = [run.chosen(values) for values in run.combinations.values()]
            in_grid = dict.fromkeys(problem for member in members for problem in self._impossible_settings(member))
            yield from (f"runs.{name}.grid: {problem}" for problem in in_grid if problem not in own)
        if self.ablation is not None:
            yield from (f"ablation.{problem}" for problem in self._impossible_ablation(self.ablation))

    def _impossible_ablation(self, ablation: Ablation) -> Iterator[str]:
        model = self.models[ablation.model]
        if model.pretrain is None or model.architecture is None:
            yield f"model: {ablation.model} is not pretrained here; name one with `pretrain`"
            return
        yield from ablation.problems(model.architecture)
        if self.ablation_split is None:
            yield "model: its datasets have neither a test nor a validation split to measure on"

    def _impossible_settings(self, run: Run) -> Iterator[str]:
        """What does not go together, with its place in the run."""
        task, architecture = self.datasets[run.dataset].task, self.models[run.model].architecture
        if task == "text":
            yield f"dataset: {run.dataset} is plain text, which can only be pretrained on"
        if task == "classification" and run.generation is not None:
            yield "generation: a classification run generates nothing; remove it"
        if task == "classification" and run.loss_on != "response":
            yield "loss_on: only instruction runs have it; remove it"
        if task != "classification" and run.class_weights != "none":
            yield "class_weights: only classification runs have classes; remove it"
        yield from self._missing_chat_template(run)
        if architecture is None:
            return
        yield from _too_long(run.max_length, architecture.context_length, "max_length")
        if isinstance(run.trainable, LastBlocks) and run.trainable.last_blocks > architecture.n_layers:
            blocks = run.trainable.last_blocks
            yield f"trainable.last_blocks: {blocks} blocks, but {run.model} has {architecture.n_layers}"

    def _missing_chat_template(self, run: Run) -> Iterator[str]:
        dataset, name = self.datasets[run.dataset], self.models[run.model].tokenizer
        tokenizer = self.tokenizers[name]
        has_none = (tokenizer.is_trained or tokenizer.vocab is not None) and not tokenizer.conventions.chat_template
        if isinstance(dataset, InstructionDataset) and dataset.prompt == "chat" and has_none:
            yield (
                f"dataset: {run.dataset} has prompt: chat, but the tokenizer {name} no chat template; "
                f"use alpaca or compact, or give tokenizers.{name}.conventions.chat_template"
            )


# A run is a rule of its own, so it cannot be called like one.
RESERVED_TARGETS = frozenset(
    {
        "ablation",
        "all",
        "baselines",
        "choose",
        "collect_metrics",
        "comparisons",
        "convert_gguf",
        "convert_weights",
        "download",
        "download_gguf",
        "download_weights",
        "downloads",
        "evaluate",
        "extract",
        "fetch_tokenizer",
        "finetune",
        "finetune_lora",
        "finetune_trial",
        "generate",
        "generate_before",
        "gguf_tokenizer",
        "import_checkpoint",
        "join_tokens",
        "judge",
        "keep_chosen",
        "learning_curve",
        "measure_variants",
        "predict",
        "prepare",
        "prepare_shards",
        "pretrain",
        "pretrain_variant",
        "push",
        "random_weights",
        "read_shard",
        "report",
        "restore",
        "score_trial",
        "score_variant",
        "summarize",
        "sweep",
        "tokenize",
        "tokenize_shard",
        "track",
        "train_tokenizer",
        "trunk_features",
        "verify_weights",
    }
)


def load_config(raw: Mapping[str, Any]) -> Config:
    """Validate what YAML gave.

    Raises UserError with one line a problem, each with its path in the config; an unknown key comes
    with the nearest known one.
    """
    if not isinstance(raw, Mapping) or not raw:
        raise UserError("the config is empty: pass one with --configfile, or restore config.yaml")
    try:
        return Config.model_validate(raw)
    except pydantic.ValidationError as error:
        problems = [line for details in error.errors() for line in describe(details, raw, Config)]
        raise UserError("\n".join(f"config: {problem}" for problem in dict.fromkeys(problems))) from error


def canonical_json(settings: Any) -> str:
    """Sorted, compact JSON; of a model only what differs from its defaults. Equal settings give equal text."""
    value = settings.model_dump(mode="json", exclude_defaults=True) if isinstance(settings, BaseModel) else settings
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def settings_hash(settings: Any) -> str:
    """Of what a run computes, which leaves out how (`execution`); `settings` as JSON or a Config."""
    if isinstance(settings, Config):
        settings = settings.model_dump(mode="json", exclude_defaults=True)
    settings = {key: value for key, value in settings.items() if key != "execution"}
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:16]


def _unknown(kind: str, name: str, known: Mapping[str, Any], place: str) -> Iterator[str]:
    if name not in known:
        yield f"{place}: no {kind} is called {name!r}{nearest(name, known)}"


def _too_long(length: int | None, context: int | None, place: str) -> Iterator[str]:
    if length is not None and context is not None and length > context:
        yield f"{place}: {length} tokens, but the model's context is {context}; lower it to {context} or less"
