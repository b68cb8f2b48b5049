"""What was found in a file, in a few plain lines."""

from collections.abc import Iterator

from gptsmith.inspection.roles import columns_listed
from gptsmith.inspection.table import Table

NAMES = {"csv": "CSV", "tsv": "TSV", "json": "one list of objects (JSON)", "jsonl": "an object a line (JSON Lines)"}
SEPARATORS = {";": "semicolons", "|": "vertical bars"}


def findings(table: Table) -> Iterator[str]:
    layout = table.format
    parts = [NAMES.get(layout.type, "Parquet")]
    if layout.delimiter is not None:
        parts.append(f"separated by {SEPARATORS[layout.delimiter]}")
    if layout.type in ("csv", "tsv"):
        parts.append("no header line" if layout.columns else "a header line")
        if layout.quoting == "none":
            parts.append("quotation marks are ordinary characters")
    if layout.type != "parquet":
        parts.append(f"encoding {layout.encoding}")
    rows = f"{table.rows:,} rows"
    if not table.is_whole:
        rows = f"about {table.all_rows:,} rows, of which the first {table.rows:,} were looked at"
    yield f"{table.path}: {', '.join(parts)}; {rows}"
    if layout.encoding not in ("utf-8", "utf-16"):
        examples = [one for column in table.columns.values() for one in column.examples if not one.isascii()]
        if examples:
            yield f"The encoding is a guess. Does this look right? {' '.join(examples[0].split())[:200]}"
    yield columns_listed(table)
    for name, column in table.columns.items():
        if column.n_empty and column.kind != "empty":
            yield f"{name}: {column.n_empty:,} rows have nothing there"
        repeated = table.duplicates([name])
        if column.kind == "text" and repeated:
            yield f"{name}: {repeated:,} rows repeat an earlier one"
    if table.unread:
        yield f"Not looked at, being neither texts nor numbers: {', '.join(table.unread)}"
