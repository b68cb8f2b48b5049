"""Which column is what: named by the user, or guessed where only one can be meant."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gptsmith.errors import UserError
from gptsmith.inspection.table import Column, Table

TEXTS = ("text", "message", "body", "content", "review", "sentence", "comment", "tweet", "sms", "document")
LABELS = ("label", "class", "category", "target", "sentiment", "topic", "intent", "tag", "spam")
INSTRUCTIONS = ("instruction", "prompt", "question", "query")
ANSWERS = ("output", "response", "answer", "completion", "reply")
INPUTS = ("input", "context")

EXAMPLE_CHARACTERS = 60
CLASSES_SHOWN = 10


@dataclass(frozen=True)
class Wanted:
    """What the user named; nothing where it is to be guessed."""

    text: Sequence[str] = ()
    label: str | None = None
    instruction: str | None = None
    input: str | None = None
    answer: str | None = None
    category: str | None = None
    messages: str | None = None


@dataclass(frozen=True)
class Classification:
    text: list[str]
    label: str
    guessed: list[str] = field(default_factory=list)
    """A line for each role that was not named."""

    @property
    def read(self) -> list[str]:
        """Columns that a model reads or writes."""
        return self.text


@dataclass(frozen=True)
class Instructions:
    instruction: str
    input: str | None
    answer: str
    category: str | None
    guessed: list[str] = field(default_factory=list)

    @property
    def read(self) -> list[str]:
        return [name for name in (self.instruction, self.input, self.answer) if name is not None]


@dataclass(frozen=True)
class Conversations:
    messages: str
    category: str | None
    guessed: list[str] = field(default_factory=list)

    @property
    def read(self) -> list[str]:
        return [self.messages]


Roles = Classification | Instructions | Conversations


def choose_roles(table: Table, wanted: Wanted) -> Roles:
    """Raises UserError, which lists the columns, for a name that is none, and where it is not clear what is meant."""
    named = [*wanted.text, wanted.label, wanted.instruction, wanted.input, wanted.answer, wanted.category]
    for name in (*named, wanted.messages):
        if name is not None and name not in table.columns:
            raise UserError(f"{table.path}: no column {name!r}.\n{columns_listed(table)}")
    if wanted.text or wanted.label:
        return _classification(table, wanted)
    chats = [wanted.messages] if wanted.messages else _of_kind(table, "messages")
    if wanted.messages or (len(chats) == 1 and not (wanted.instruction or wanted.answer)):
        guessed = [] if wanted.messages else [f"--messages {chats[0]}: the only column of conversations"]
        return Conversations(chats[0], wanted.category, guessed)
    if wanted.instruction or wanted.answer or (_called(table, INSTRUCTIONS) and _called(table, ANSWERS)):
        return _instructions(table, wanted)
    return _classification(table, wanted)


def _classification(table: Table, wanted: Wanted) -> Classification:
    guessed = []
    label = wanted.label
    if label is None:
        candidates = [name for name in _of_kind(table, "category") if name not in wanted.text]
        label = _only(table, candidates, LABELS, "the label", "--label")
        guessed.append(f"--label {label}: {_why(candidates, 'classes')}")
    text = list(wanted.text)
    if not text:
        candidates = [name for name in _of_kind(table, "text") or _of_kind(table, "category") if name != label]
        # Identifiers, dates and names are texts as well, but of a word or two.
        sentences = [name for name in candidates if _is_prose(table.columns[name])] or candidates
        text = [_only(table, sentences, TEXTS, "the text", "--text")]
        guessed.append(f"--text {text[0]}: {_why(sentences, 'texts')}")
    _not_empty(table, text)
    if label in text:
        raise UserError(f"{table.path}: {label!r} cannot be both text and label.\n{columns_listed(table)}")
    if len(table.columns[label].counts or {}) == 1:
        raise UserError(f"{table.path}: every row has the same {label!r}; a classifier needs two or more classes.")
    if table.columns[label].kind != "category":
        raise UserError(
            f"{table.path}: column {label!r} has no classes that repeat; a label is one of a few values.\n"
            + columns_listed(table)
        )
    return Classification(text, label, guessed)


def _not_empty(table: Table, columns: Sequence[str]) -> None:
    for name in columns:
        if table.columns[name].kind == "empty":
            raise UserError(f"{table.path}: column {name!r} is empty in every row.\n{columns_listed(table)}")


def _instructions(table: Table, wanted: Wanted) -> Instructions:
    guessed = []
    found: dict[str, str | None] = {}
    for role, option, names, known in (
        ("instruction", "--instruction", INSTRUCTIONS, wanted.instruction),
        ("answer", "--answer", ANSWERS, wanted.answer),
        ("input", "--input", INPUTS, wanted.input),
        ("category", "--category", ("category", "task"), wanted.category),
    ):
        called = [name for name in _called(table, names) if name not in found.values()]
        if known is not None:
            found[role] = known
        elif len(called) == 1 and (role != "category" or table.columns[called[0]].kind == "category"):
            found[role] = called[0]
            guessed.append(f"{option} {called[0]}: by its name")
        elif role in ("instruction", "answer"):
            raise UserError(
                f"{table.path}: which column is the {role}? Name it: {option} COLUMN\n{columns_listed(table)}"
            )
        else:
            found[role] = None
    instruction, answer = found["instruction"], found["answer"]
    assert instruction is not None
    assert answer is not None
    _not_empty(table, [instruction, answer])
    return Instructions(instruction, found["input"], answer, found["category"], guessed)


def _of_kind(table: Table, kind: str) -> list[str]:
    return [name for name, column in table.columns.items() if column.kind == kind]


def _called(table: Table, names: Collection[str]) -> list[str]:
    return [name for name in table.columns if name.strip().lower() in names]


def _is_prose(column: Column) -> bool:
    return sum(len(example.split()) for example in column.examples) >= 3 * len(column.examples)


def _only(table: Table, candidates: list[str], names: Collection[str], role: str, option: str) -> str:
    """The only candidate, or the only one called so."""
    called = [name for name in _called(table, names) if name in candidates]
    for found in (candidates, called):
        if len(found) == 1:
            return found[0]
    raise UserError(f"{table.path}: which column is {role}? Name it: {option} COLUMN\n{columns_listed(table)}")


def _why(candidates: list[str], kind: str) -> str:
    return f"the only column of {kind}" if len(candidates) == 1 else "by its name"


def columns_listed(table: Table) -> str:
    """A line for each column: what is in it."""
    width = max(len(name) for name in table.columns)
    lines = [f"  {name:<{width}}  {summary(column)}" for name, column in table.columns.items()]
    return "\n".join(["The columns:", *lines])


def summary(column: Column) -> str:
    """`3 classes: ham (700), spam (90), other (3)`, `texts, e.g. 'See you at ...'`."""
    if column.kind == "empty":
        return "empty"
    if column.kind == "messages":
        return "conversations (messages with role and content)"
    if column.kind == "nested":
        return f"lists or objects, e.g. {shorten(column.examples[0])}"
    if column.kind == "category" and column.counts is not None:
        shown = [f"{shorten(value)} ({count:,})" for value, count in list(column.counts.items())[:CLASSES_SHOWN]]
        more = ", ..." if len(column.counts) > CLASSES_SHOWN else ""
        classes = "1 value" if len(column.counts) == 1 else f"{len(column.counts)} classes"
        return f"{classes}: {', '.join(shown)}{more}"
    kind = "numbers" if column.kind == "number" else "texts"
    return f"{kind}, e.g. {shorten(column.examples[0])!r}"


def shorten(text: str) -> str:
    line = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return line if len(line) <= EXAMPLE_CHARACTERS else line[: EXAMPLE_CHARACTERS - 4] + " ..."
