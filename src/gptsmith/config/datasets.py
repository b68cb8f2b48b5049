"""Where a dataset comes from, what its rows look like, and how it is split."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from gptsmith.config.prompts import PromptStyle
from gptsmith.config.sources import Sources
from gptsmith.config.strict import STRICT

Fraction = Annotated[float, Field(ge=0, le=1)]
Shards = Annotated[int, Field(ge=1, le=1000)]
Share = Annotated[float, Field(gt=0, le=1)]
Incomplete = Literal["refuse", "drop"]


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _numbers_as_text(labels: Any) -> Any:
    """YAML reads `{0: ham, 1: spam}` and `[1, 2]` as numbers; files hold text."""
    if isinstance(labels, dict):
        return {_number_as_text(key): _number_as_text(value) for key, value in labels.items()}
    return [_number_as_text(label) for label in labels] if isinstance(labels, list) else _number_as_text(labels)


class Format(BaseModel):
    """How the raw file is to be read."""

    model_config = STRICT

    type: Literal["csv", "tsv", "json", "jsonl", "parquet", "text"]
    """`csv` and `tsv` are tables with a header line, `json` is one list of objects, `jsonl` one object per line,
    `text` one document in plain text."""
    columns: list[str] | None = None
    """Names of the columns of a csv or tsv file that has no header line."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Separator of a csv or tsv file, one character; `,` or the tab when left out (Excel often writes `;`)."""
    quoting: Literal["minimal", "none"] = "minimal"
    """`minimal`: a field may stand in quotation marks; `none`: a quotation mark is an ordinary character."""
    encoding: str = "utf-8"
    """Encoding of the text; a byte-order mark is skipped. Excel on Windows often writes `cp1252`."""


class Split(BaseModel):
    """Shares of the rows for each split. They add up to 1, so give all three."""

    model_config = STRICT

    train: Annotated[float, Field(gt=0, le=1)] = 0.7
    """To learn from."""
    validation: Fraction = 0.1
    """To choose the best weights of a training by. With 0, the last ones are kept."""
    test: Fraction = 0.2
    """To measure the results on."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test add up to {total:g}, not to 1")
        return self


class ClassificationDataset(BaseModel):
    """Texts, each with one label."""

    model_config = STRICT

    task: Literal["classification"]
    """What the dataset is for."""
    sources: Sources
    """Places that hold the same bytes, tried in order."""
    format: Format
    """How to read the file."""
    text: str | Annotated[list[str], Field(min_length=1)] = "text"
    """Column with the text; of several, as in `[subject, body]`, the texts are joined by a line end, without those that
    are empty."""
    label: str = "label"
    """Column with the label."""
    labels: Annotated[list[str] | dict[str, str] | None, BeforeValidator(_numbers_as_text)] = None
    """The labels to expect: a list, or a mapping from the file's value to the name to use. Any other
    label in the file is an error. When left out, the labels are those found."""
    positive_label: Annotated[str | None, BeforeValidator(_numbers_as_text)] = None
    """The class that precision, recall, F1, ROC AUC and average precision of a two-class set are about.
    When left out, the rarer class of the training split (where both are as frequent, the rarer in the file)."""
    incomplete: Incomplete = "refuse"
    """What becomes of a row without a text or a label: `refuse` stops and names the first, `drop` leaves them out and
    counts them in the dataset's report.json."""
    max_characters: PositiveInt | None = None
    """Texts of more characters are left out and counted in report.json. (The `max_length` of a run cuts them.)"""
    split: Split = Split()
    """Shares of the splits; every class is divided by the same shares."""
    test_sources: Sources | None = None
    """Places of a file in the same format that has the test split, `[{path: test.csv}]` for one of your own. The other
    rows are then divided by the shares for training and validation alone; those that the test split has as well are
    dropped, where `deduplicate` is on."""
    deduplicate: bool = True
    """Drop repeated texts before splitting, so that none can be in two splits."""
    sample: Share = 1
    """Part of the rows to use, drawn at random after repeated ones are dropped, of each class alike and of a test
    split's own file too: for a first look at a large set."""
    near_duplicates: Literal["ignore", "report", "remove"] = "ignore"
    """What becomes of texts (of instructions with their input) that are nearly those of an earlier row, eight tenths of
    them the same: `report` counts them and flags those of the test split that training has, `remove` drops them before
    splitting. Both take time, about half a minute for 100,000 short texts, and memory, about seven kilobytes a row."""
    balance: Literal["none", "undersample"] = "none"
    """`undersample` cuts every class to the size of the smallest, before splitting."""
    shards: Shards = 1
    """Parts that are read and tokenized by jobs of their own: for large datasets on a cluster (docs/performance.md)."""

    @property
    def text_columns(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else self.text

    @property
    def label_names(self) -> dict[str, str] | None:
        """Mapping from a label as the file has it to its name, or None when any label goes."""
        if isinstance(self.labels, list):
            return {label: label for label in self.labels}
        return self.labels

    @model_validator(mode="after")
    def _positive_label_is_known(self) -> Self:
        names = self.label_names
        if names is not None and len(set(names.values())) < 2:
            raise ValueError("labels: at least two different labels are needed")
        if names is not None and self.positive_label is not None and self.positive_label not in names.values():
            raise ValueError(
                f"positive_label: {self.positive_label!r} is not one of labels {sorted(set(names.values()))}"
            )
        return self


class MechanicalItems(BaseModel):
    """How many generated questions (gptsmith.data.mechanical) each of their categories gets; no question of
    one split is in another."""

    model_config = STRICT

    train: PositiveInt
    """Per category, in the training split."""
    validation: NonNegativeInt
    """Per category, in the validation split."""
    test: NonNegativeInt
    """Per category, in the test split."""


class InstructionDataset(BaseModel):
    """Instructions, each with an optional input and the wanted output."""

    model_config = STRICT

    task: Literal["instruction"]
    """What the dataset is for."""
    sources: Sources
    """Places that hold the same bytes, tried in order."""
    format: Format
    """How to read the file."""
    instruction: str = "instruction"
    """Column with the instruction."""
    input: str | None = "input"
    """Column with the input, which may be empty; null when the file has none."""
    output: str = "output"
    """Column with the wanted response."""
    messages: str | None = None
    """Column with a conversation, a list of `{role, content}` or `{from, value}`, in place of `instruction`, `input`
    and `output`: the instruction is the first turn of the `user` (`human`), after that of the `system` where there is
    one, and the output the first of the `assistant` (`gpt`) after it. Later turns are left out."""
    category: str | None = None
    """Column with the category that results are broken down by; null when the file has none."""
    prompt: PromptStyle = "alpaca"
    """Wording around the instruction: `alpaca` is Stanford Alpaca's, `compact` a single line, for small models, `chat`
    the format of the tokenizer's own chat template: what a model that was trained to chat expects."""
    mechanical: MechanicalItems | None = None
    """Questions with one right answer, generated and added to the splits."""
    incomplete: Incomplete = "refuse"
    """What becomes of a row without an instruction or an output: `refuse` stops and names the first, `drop` leaves
    them out and counts them in the dataset's report.json."""
    max_characters: PositiveInt | None = None
    """Rows of more characters, instruction, input and output together, are left out and counted in report.json. What
    is in the test split has to fit the model's context; English has three to five characters a token."""
    split: Split = Split(train=0.85, validation=0.05, test=0.1)
    """Shares of the splits; every category is divided by the same shares."""
    test_sources: Sources | None = None
    """Places of a file in the same format that has the test split, `[{path: test.csv}]` for one of your own. The other
    rows are then divided by the shares for training and validation alone; those that the test split has as well are
    dropped, where `deduplicate` is on."""
    deduplicate: bool = True
    """Drop entries whose instruction and input repeat an earlier one, before splitting."""
    sample: Share = 1
    """Part of the rows to use, drawn at random after repeated ones are dropped, of each category alike and of a test
    split's own file too: for a first look at a large set."""
    near_duplicates: Literal["ignore", "report", "remove"] = "ignore"
    """What becomes of texts (of instructions with their input) that are nearly those of an earlier row, eight tenths of
    them the same: `report` counts them and flags those of the test split that training has, `remove` drops them before
    splitting. Both take time, about half a minute for 100,000 short texts, and memory, about seven kilobytes a row."""
    shards: Shards = 1
    """Parts that are read and tokenized by jobs of their own: for large datasets on a cluster (docs/performance.md)."""

    @model_validator(mode="after")
    def _messages_stand_alone(self) -> Self:
        others = [name for name in ("instruction", "input", "output") if name in self.model_fields_set]
        if self.messages is not None and others:
            raise ValueError(f"messages: holds question and answer; remove {', '.join(others)}")
        if self.messages is not None and self.format.type not in ("json", "jsonl", "parquet"):
            raise ValueError(f"messages: a {self.format.type} file has no lists; make it jsonl")
        return self


class TextDataset(BaseModel):
    """Plain text to pretrain on."""

    model_config = STRICT

    task: Literal["text"]
    """What the dataset is for."""
    sources: Sources
    """Places that hold the same bytes, tried in order."""
    format: Format
    """How to read the file. With type `text` the whole file is one document, otherwise each row is."""
    text: str = "text"
    """Column with the text (not used with type `text`)."""
    split: Split = Split(train=0.9, validation=0.1, test=0.0)
    """Shares of the splits. A single document is cut in order, at line ends."""
    deduplicate: bool = True
    """Drop repeated documents."""
    shards: Shards = 1
    """Parts that are read and tokenized by jobs of their own: for large datasets on a cluster (docs/performance.md)."""


Dataset = Annotated[ClassificationDataset | InstructionDataset | TextDataset, Field(discriminator="task")]


def splits_with_rows(dataset: Dataset) -> set[str]:
    """The splits that get rows: by their share, from a file of their own, or generated."""
    shares = {name: getattr(dataset.split, name) for name in Split.model_fields}
    if dataset.task != "text" and dataset.test_sources is not None:
        shares["test"] = 1.0
    generated = dataset.mechanical if dataset.task == "instruction" else None
    return {name for name, share in shares.items() if share or (generated and getattr(generated, name))}
