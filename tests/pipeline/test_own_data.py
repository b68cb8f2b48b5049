"""A file of the user's own goes through `gptsmith init` to a report."""

import json
import os
import random
import subprocess
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Project

COMMAND = "from gptsmith.cli.app import main; main()"


def gptsmith(project: "Project", *arguments: str) -> str:
    """Standard output of the command, run in the project's folder."""
    variables = os.environ | {"PYTHONPATH": str(project.folder / "src")}
    command = [sys.executable, "-c", COMMAND, *arguments]
    result = subprocess.run(command, cwd=project.folder, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def write_excel_csv(project: "Project") -> None:
    """Three classes of unequal size, semicolons, Windows-1252."""
    rng = random.Random(0)
    words = ["Lieferung", "spät", "Rechnung", "Gruß", "falsch", "schön", "Öffnungszeit", "danke", "kaputt"]
    classes = ["Beschwerde"] * 90 + ["Rechnung"] * 40 + ["Frage"] * 20
    rows = [f"{n};{' '.join(rng.choices(words, k=8))} {label[:3]};{label}" for n, label in enumerate(classes)]
    (project.folder / "Anfragen.csv").write_text("Nr;Text;Thema\n" + "\n".join(rows) + "\n", encoding="cp1252")


def test_the_config_written_is_planned(project: "Project") -> None:
    write_excel_csv(project)
    assert "3 classes: Beschwerde (90), Rechnung (40), Frage (20)" in gptsmith(project, "init", "Anfragen.csv")
    jobs = project.planned("--configfile", "anfragen.yaml")
    assert jobs["prepare"] == jobs["pretrain"] == jobs["finetune"] == jobs["report"] == 1


@pytest.mark.slow
def test_from_two_files_to_a_report(project: "Project") -> None:
    write_excel_csv(project)
    header, *rows = (project.folder / "Anfragen.csv").read_text(encoding="cp1252").splitlines(keepends=True)
    (project.folder / "Test.csv").write_text(header + "".join(rows[::5]), encoding="cp1252")
    gptsmith(project, "init", "Anfragen.csv", "--test", "Test.csv")
    config = yaml.safe_load((project.folder / "anfragen.yaml").read_text())
    [(name, settings)] = config["runs"].items()
    config["runs"]["again"] = settings | {"trainable": "head", "seeds": [7]}
    (project.folder / "anfragen.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    project.run("--configfile", "anfragen.yaml")
    metrics = json.loads((project.folder / "results/anfragen/metrics.json").read_text())
    assert metrics
    report = json.loads((project.folder / "data/prepared/anfragen/report.json").read_text())
    assert report["splits"]["test"]["rows"] == report["test_rows_read"] == 30
    assert report["dropped"]["duplicate"] == 30
    assert report["near_duplicates"]["rows"] >= 0
    text = (project.folder / "results/anfragen/report.html").read_text()
    assert "Beschwerde" in text
    assert text.index(f'<bdi class="data">{name}</bdi>') < text.index('<bdi class="data">again</bdi>')

    compared = json.loads((project.folder / "results/anfragen/comparisons/anfragen.json").read_text())
    [pair] = compared["pairs"]
    assert pair["runs"] == [name, "again"]
    means = [metrics[run]["f1"] for run in pair["runs"]]
    assert pair["differences"]["f1"]["difference"] == pytest.approx(means[0] - means[1])
    assert set(pair["mcnemar"]) == {"only_first", "only_second", "p_value"}
    assert "p (McNemar)" in text
    summary = json.loads((project.folder / "results/anfragen/again/summary.json").read_text())
    assert {label: entry["rows"] for label, entry in summary["classes"].items()} == report["splits"]["test"]["labels"]
    assert summary["threshold"] is None


def test_what_a_run_takes_is_told_before_it(project: "Project") -> None:
    write_excel_csv(project)
    gptsmith(project, "init", "Anfragen.csv")
    told = gptsmith(project, "check", "anfragen.yaml")
    assert "anfragen.yaml: 12 jobs (prepare, " in told
    assert "classifier: 150 rows of" in told
    assert "time: roughly" in told
    assert not (project.folder / "data").exists()


# Two more files as people have them


def write_chats(project: "Project") -> None:
    """Questions of a few turns; some never got an answer."""
    rng = random.Random(0)
    lines = []
    for n in range(80):
        turns = [
            ("system", "Be brief."),
            ("user", f"What comes after {n}?"),
            ("assistant", f"{n + 1}."),
            ("user", "Thanks!"),
        ]
        chat = [{"role": role, "content": content} for role, content in turns[: 2 if n % 20 == 7 else 4]]
        lines.append(json.dumps({"id": f"c{n}", "messages": chat, "rating": rng.random()}))
    (project.folder / "chats.jsonl").write_text("\n".join(lines), encoding="utf-8")


def write_tickets(project: "Project", rows: int) -> None:
    """A text among numbers, times, lists and objects, in Parquet; here and there a value is missing."""
    rng = random.Random(0)
    topics = {
        "billing": ["invoice", "refund", "card"],
        "delivery": ["parcel", "late", "address"],
        "login": ["password"],
    }
    names = rng.choices(list(topics), [6, 3, 1], k=rows)
    words = ["the", "please", "my", "again", "today", "not", "still", "order"]
    bodies = [" ".join(rng.choices(words + topics[name], k=6)) + f" {n}" for n, name in enumerate(names)]
    columns = {
        "number": range(rows),
        "opened": [datetime(2026, 1, 1) + timedelta(minutes=n) for n in range(rows)],
        "body": [None if n % 500 == 1 else body for n, body in enumerate(bodies)],
        "topic": [None if n % 700 == 2 else name for n, name in enumerate(names)],
        "customer": [{"country": "FR", "age": n % 90} for n in range(rows)],
        "score": [None if n % 3 else n / rows for n in range(rows)],
    }
    pq.write_table(
        pa.table({name: pa.array(values) for name, values in columns.items()}), project.folder / "tickets.parquet"
    )


@pytest.mark.slow
def test_from_conversations_to_a_report(project: "Project") -> None:
    write_chats(project)
    assert "guessed: --messages messages" in gptsmith(project, "init", "chats.jsonl")
    assert "assistant: 76 rows of" in gptsmith(project, "check", "chats.yaml")
    project.run("--configfile", "chats.yaml")
    prepared = json.loads((project.folder / "data/prepared/chats/report.json").read_text())
    assert (prepared["rows"], prepared["dropped"]["incomplete"]) == (76, 4)
    assert "Be brief." in (project.folder / "results/chats/report.html").read_text()


@pytest.mark.slow
def test_from_a_hundred_thousand_rows_to_a_report(project: "Project") -> None:
    """With the config as it is written but for less training."""
    write_tickets(project, 100_000)
    found = gptsmith(project, "init", "tickets.parquet")
    assert "customer  lists or objects" in found
    assert "Not looked at, being neither texts nor numbers: opened" in found
    assert "classifier: 100,000 rows of" in gptsmith(project, "check", "tickets.yaml")
    path = project.folder / "tickets.yaml"
    config = yaml.safe_load(path.read_text())
    config["datasets"]["tickets"] |= {
        "near_duplicates": "ignore",
        "split": {"train": 0.97, "validation": 0.01, "test": 0.02},
    }
    config["models"]["tickets-small"]["architecture"] |= {"d_model": 16, "n_layers": 1, "n_heads": 1}
    for training in (
        config["models"]["tickets-small"]["pretrain"]["training"],
        config["runs"]["classifier"]["training"],
    ):
        training |= {"epochs": 0.01, "evaluations": 1}
    config["evaluation"] = {"bootstrap_samples": 50}
    path.write_text(yaml.safe_dump(config))
    project.run("--configfile", "tickets.yaml")
    prepared = json.loads((project.folder / "data/prepared/tickets/report.json").read_text())
    assert prepared["rows_read"] == 100_000
    assert prepared["dropped"]["incomplete"] == 343
    assert prepared["splits"]["test"]["rows"] == pytest.approx(2000, abs=20)
    assert (project.folder / "results/tickets/report.html").stat().st_size < 5_000_000
