"""What a model has to beat: answers that need no language model, from the training split alone."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin
from sklearn.pipeline import Pipeline, make_pipeline

from gptsmith.data.prepared import read_report, read_split
from gptsmith.errors import UserError
from gptsmith.files import atomic_path

_WORD_OR_SYMBOL = r"\w+|[^\w\s]"


def classification_baselines(prepared: Path, output: Path) -> None:
    """Write baselines.parquet: predictions on the test split of

    - `majority`: the most frequent label of the training split, with the labels' shares as probabilities;
    - `tfidf_logistic_regression`: logistic regression on TF-IDF of words and pairs of words.

    Raises UserError when the training split has a single label.
    """
    train, test = train_and_test(prepared)
    labels = read_report(prepared)["labels"]
    if train["label"].nunique() < 2:
        raise UserError(f"{prepared / 'train.parquet'}: only one label, so there is nothing to learn")
    classifiers = {
        "majority": DummyClassifier(strategy="prior"),
        "tfidf_logistic_regression": tfidf_classifier(),
    }
    parts = [predictions_of(one, train, test, labels).assign(baseline=name) for name, one in classifiers.items()]
    columns = ["baseline", "id", "label", "prediction", *(f"probability_{label}" for label in labels)]
    _write(pd.concat(parts)[columns], output)


def tfidf_classifier() -> Pipeline:
    """Logistic regression on TF-IDF. Its features are many and sparse, so little regularisation is wanted."""
    return make_pipeline(_tfidf(), LogisticRegression(C=100, max_iter=1000))


def predictions_of(
    classifier: Pipeline | DummyClassifier, train: pd.DataFrame, test: pd.DataFrame, labels: list[str]
) -> pd.DataFrame:
    """Fit to the rows of `train` (text, label), and classify those of `test`: id, label, prediction and the
    probability of each label."""
    classifier.fit(train["text"], train["label"])
    probabilities = pd.DataFrame(classifier.predict_proba(test["text"]), columns=classifier.classes_)
    probabilities = probabilities.reindex(columns=labels, fill_value=0.0)  # a label may be in no training row
    rows = test[["id", "label"]].assign(prediction=probabilities.idxmax(axis=1))
    return rows.join(probabilities.add_prefix("probability_"))


def instruction_baselines(prepared: Path, output: Path) -> None:
    """Write baselines.parquet: responses on the test split of

    - `majority_answer`: the most frequent output of the item's category in the training split (of the whole
      training split for a category that it lacks), the earliest of equally frequent ones;
    - `nearest_neighbour`: the output of the training item with the most similar prompt.
    """
    train, test = train_and_test(prepared)
    responses = {
        "majority_answer": majority_answers(train, test["category"]),
        "nearest_neighbour": [train["output"][row] for row in nearest_neighbours(_prompts(train), _prompts(test))],
    }
    items = test[["id", "category", "output"]].rename(columns={"output": "reference"})
    parts = [items.assign(baseline=name, response=response) for name, response in responses.items()]
    _write(pd.concat(parts)[["baseline", "id", "category", "reference", "response"]], output)


def majority_answers(train: pd.DataFrame, categories: pd.Series) -> list[str]:
    """The most frequent output (column `output`) of each category (column `category`)."""
    overall = _most_frequent(train["output"])
    by_category = {category: _most_frequent(items["output"]) for category, items in train.groupby("category")}
    return [by_category.get(category, overall) for category in categories]


def nearest_neighbours(train: pd.Series, texts: pd.Series) -> NDArray[np.intp]:
    """For each text, the position of the training text of highest TF-IDF cosine similarity (the first of equals)."""
    tfidf = _tfidf()
    vectors = tfidf.fit_transform(train)
    with config_context(working_memory=64):  # MB: the full table of similarities can be gigabytes
        return pairwise_distances_argmin(tfidf.transform(texts), vectors, metric="cosine")


def train_and_test(prepared: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, test = (read_split(prepared, split).to_pandas() for split in ("train", "test"))
    for name, rows in {"train": train, "test": test}.items():
        if rows.empty:
            raise UserError(f"{prepared / name}.parquet: no rows; give the dataset a larger split.{name}")
    return train, test


def _tfidf() -> TfidfVectorizer:
    """TF-IDF of words (also of one letter or digit), single symbols, and pairs of these."""
    return TfidfVectorizer(token_pattern=_WORD_OR_SYMBOL, ngram_range=(1, 2), sublinear_tf=True)


def _prompts(items: pd.DataFrame) -> pd.Series:
    return items["instruction"] + "\n" + items["input"]


def _most_frequent(outputs: pd.Series) -> str:
    return Counter(outputs).most_common(1)[0][0]


def _write(rows: pd.DataFrame, output: Path) -> None:
    with atomic_path(output) as path:
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path, compression="zstd")
