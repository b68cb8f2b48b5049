"""The public sets that have a config: it is planned as it is shipped, and small files of the same shape are
downloaded, checked and prepared by it."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from gptsmith.files import sha256_of

if TYPE_CHECKING:
    from conftest import Project

CONFIGS = Path(__file__).parents[2] / "config"
SETS = ["ag-news", "alpaca", "dolly", "imdb"]


def shipped(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


@pytest.mark.parametrize(("name", "files"), [("ag-news", 2), ("alpaca", 1), ("dolly", 1), ("imdb", 2)])
def test_a_shipped_config_is_planned(project: "Project", name: str, files: int) -> None:
    jobs = project.planned("--configfile", str(CONFIGS / f"{name}.yaml"))
    assert jobs["download"] == jobs["extract"] == files
    assert jobs["prepare"] == jobs["download_weights"] == jobs["finetune"] == jobs["report"] == 1


# Small files of the same shape


def reviews(start: int, count: int) -> bytes:
    """As the hub's Parquet: classes in blocks, as numbers; line breaks as in HTML."""
    labels = [int(n >= count / 2) for n in range(count)]
    texts = [
        f"I {'liked' if label else 'hated'} it.<br /><br />It was film {start + n}." for n, label in enumerate(labels)
    ]
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": texts, "label": pa.array(labels, pa.int64())}), sink)
    return sink.getvalue()


def news(start: int, count: int) -> bytes:
    """No header line, all fields quoted, quotation marks doubled, line ends as backslashes and commas inside."""
    sink = io.StringIO()
    rows = (
        (n % 4 + 1, f'"Title" {n}, of \\ $1', f"It is said, by &lt;b&gt;Reuters&lt;/b&gt; that {n}")
        for n in range(start, start + count)
    )
    csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return sink.getvalue().encode()


def alpaca() -> bytes:
    rows = [
        {
            "instruction": f"Add {n} to the number.",
            "input": "7" if n % 3 else "",
            "output": f"It is {n + 7} \u2014 done.",
        }
        for n in range(200)
    ]
    rows[30]["output"] = ""
    rows[31]["output"] = "So it goes. " * 400
    return json.dumps(rows, indent=4).encode()


def dolly() -> bytes:
    categories = ["open_qa", "closed_qa", "brainstorming"]
    rows = [
        {
            "instruction": f"What comes after {n}?",
            "context": "",
            "response": f"{n + 1}\n",
            "category": categories[n % 3],
        }
        for n in range(300)
    ]
    rows[8]["response"] = " \n"
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


FILES = {
    "imdb": [reviews(0, 60), reviews(50, 20)],
    "ag-news": [news(0, 120), news(110, 40)],
    "alpaca": [alpaca()],
    "dolly": [dolly()],
}


def publish(dataset: dict[str, Any], contents: list[bytes], mirror: Path) -> None:
    """Put the files of a dataset where its sources say, with their own checksums."""
    for [source], content in zip(
        [dataset["sources"], *filter(None, [dataset.get("test_sources")])], contents, strict=True
    ):
        place = mirror / source["url"].removeprefix("https://")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        source["sha256"] = sha256_of(place)


@pytest.mark.slow
def test_files_of_the_same_shape_are_prepared(project: "Project") -> None:
    config = shipped("imdb")
    config["execution"] = {"mirror": "mirror"}
    config["datasets"] = {name: shipped(name)["datasets"][name] for name in SETS}
    for name, contents in FILES.items():
        publish(config["datasets"][name], contents, project.folder / "mirror")
    project.write_config(config)
    project.run(*(f"data/prepared/{name}/report.json" for name in SETS))

    assert "download" not in project.planned("downloads")

    def of(name: str) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
        folder = project.folder / "data/prepared" / name
        splits = {
            split: pq.read_table(folder / f"{split}.parquet").to_pylist() for split in ("train", "validation", "test")
        }
        return json.loads((folder / "report.json").read_text()), splits

    report, splits = of("imdb")
    assert report["labels"] == ["negative", "positive"]
    assert report["positive_label"] == "positive"
    assert Counter(row["label"] for row in splits["test"]) == {"negative": 10, "positive": 10}
    assert [row["text"].split()[1] for row in splits["test"]] == ["hated"] * 10 + ["liked"] * 10
    # No review is repeated here: 50 to 59 were liked in one file and hated in the other.
    assert (len(splits["train"]), len(splits["validation"])) == (54, 6)

    report, splits = of("ag-news")
    assert report["labels"] == ["Business", "Sci/Tech", "Sports", "World"]
    assert splits["test"][0]["text"] == '"Title" 110, of \\ $1\nIt is said, by &lt;b&gt;Reuters&lt;/b&gt; that 110'
    assert splits["test"][0]["label"] == "Business"  # 110 % 4 + 1 is 3
    assert (len(splits["test"]), report["dropped"]["duplicate"], report["rows"]) == (40, 10, 150)

    report, splits = of("alpaca")
    assert report["dropped"] == {"incomplete": 1, "too_long": 1, "duplicate": 0}
    assert {row["input"] for row in splits["train"]} == {"", "7"}
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 192, "validation": 2, "test": 4}

    report, splits = of("dolly")
    assert report["dropped"] == {"incomplete": 1, "duplicate": 0}
    assert report["splits"]["test"]["categories"] == {"brainstorming": 5, "closed_qa": 5, "open_qa": 5}
    assert all(row["output"] == row["output"].strip() for row in splits["train"])


@pytest.mark.slow
def test_a_test_split_with_another_checksum_is_refused(project: "Project") -> None:
    config = shipped("ag-news")
    config["execution"] = {"mirror": "mirror"}
    publish(config["datasets"]["ag-news"], FILES["ag-news"], project.folder / "mirror")
    [source] = config["datasets"]["ag-news"]["test_sources"]
    source["sha256"] = "0" * 64
    project.write_config(config)
    result = project.snakemake("data/prepared/ag-news/report.json")
    assert result.returncode != 0
    assert f"sha256 expected {'0' * 64}" in result.stderr
    assert not list((project.folder / "data").rglob("test/archive"))
    assert not list((project.folder / "data/prepared").glob("*/*"))
