"""The tables of every item in the report."""

from collections.abc import Callable

import pandas as pd
import pytest
from report_files import Results

from gptsmith.report.data_table import DataTable
from gptsmith.report.items import predictions_table, responses_table
from gptsmith.report.results import read_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(tmp_path_factory.mktemp("results")).write()


def test_mistakes_come_first_by_confidence(results: Results) -> None:
    rows = pd.read_parquet(results.root / "spam-random/seed-1/predictions.parquet").query("split == 'test'")
    wrong = rows[rows["label"] != rows["prediction"]]
    confidence = wrong[["probability_ham", "probability_spam"]].max(axis=1).sort_values(ascending=False)
    table = predictions_table("items", read_run(results.root / "spam-random"), "folder")
    assert len(wrong) > 3
    assert [row[0] for row in table.rows[: len(wrong)]] == wrong.loc[confidence.index, "id"].tolist()
    assert {row[5] for row in table.rows[: len(wrong)]} == {"✗ wrong"}
    assert {row[5] for row in table.rows[len(wrong) :]} == {"✓ right"}


@pytest.mark.parametrize(("name", "items_table"), [("spam-random", predictions_table), ("assistant", responses_table)])
def test_near_copies_of_training_items_are_marked(
    results: Results, name: str, items_table: Callable[..., DataTable]
) -> None:
    run = read_run(results.root / name)
    assert "In training" not in [column.name for column in items_table("items", run, "folder").columns]
    table = items_table("items", run, "folder", {3: 17})
    assert table.columns[-1].name == "In training"
    assert {row[0]: row[-1] for row in table.rows if row[-1]} == {3: "near copy"}
