"""What belongs to a version, what has changed, and Snakemake's records of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve
from snakemake.persistence.file import FilePersistence

from gptsmith.config.versions import Versions
from gptsmith.files import sha256_of, write_json
from gptsmith.versions.contents import (
    STATE,
    Contents,
    State,
    content_of_files,
    files_of,
    has_changed,
    write_state,
)
from gptsmith.versions.plots import roc_points
from gptsmith.versions.records import METADATA, export_records, install_records, record_name

CONTENTS = Contents("mine", ["data/prepared/texts", "results/mine/spam"], ["texts"], [], {})
FILE = "data/prepared/texts/train.parquet"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A project whose files are those that were recorded."""
    for name in (FILE, "results/mine/spam/summary.json", "results/mine/metrics.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    remember(tmp_path)
    return tmp_path


def remember(project: Path) -> None:
    write_state(project, State(content_of_files(project, files_of(project, CONTENTS), {}), {}))


def test_what_is_as_it_was_recorded_has_not_changed(recorded: Path) -> None:
    assert not has_changed(recorded, CONTENTS)
    (recorded / FILE).with_name("train.parquet.partial").touch()
    (recorded / "data/prepared/others").mkdir()
    (recorded / "data/prepared/others/train.parquet").touch()
    assert not has_changed(recorded, CONTENTS)


@pytest.mark.parametrize("change", ["content", "new", "gone", "forgotten", "state"])
def test_what_came_went_or_differs_has_changed(recorded: Path, change: str) -> None:
    path = recorded / FILE
    {
        "content": lambda: path.write_text("other text"),
        "new": lambda: path.with_name("new").touch(),
        "gone": path.unlink,
        "forgotten": (recorded / STATE).unlink,
        "state": lambda: (recorded / STATE).write_text('{"files": [1'),
    }[change]()
    assert has_changed(recorded, CONTENTS)


def test_another_configs_files_are_no_change(recorded: Path) -> None:
    (recorded / FILE).unlink()
    assert not has_changed(recorded, replace(CONTENTS, units=["results/mine/spam"]))


@given(output=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=600))
def test_records_are_where_snakemake_keeps_them(tmp_path_factory: pytest.TempPathFactory, output: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    snakemake = FilePersistence.__new__(FilePersistence)
    snakemake._max_len = None
    assert str(folder / record_name(folder, output)) == snakemake._record_path(str(folder), output)


def record_of(project: Path, file: str) -> dict[str, Any] | None:
    path = project / METADATA / record_name(project, file)
    return json.loads(path.read_text()) if path.is_file() else None


def put_record(project: Path, file: str, **record: Any) -> None:
    write_json(project / METADATA / record_name(project, file), record)


def export(project: Path, target: str = "results/mine/snakemake.json") -> None:
    export_records(project, content_of_files(project, files_of(project, CONTENTS), {}), target)


def test_records_come_back(recorded: Path) -> None:
    # The command is left out: it may hold the password of a mirror.
    put_record(recorded, FILE, rule="prepare", endtime=1.0, shellcmd="python --mirror=https://user:secret@host")
    export(recorded)
    (recorded / METADATA / record_name(recorded, FILE)).unlink()
    install_records(recorded)
    assert record_of(recorded, FILE) == {"rule": "prepare", "endtime": 1.0, "shellcmd": None}
    assert record_of(recorded, "results/mine/metrics.json") is None


def test_a_file_with_other_content_gets_no_record(recorded: Path) -> None:
    put_record(recorded, FILE, rule="prepare", endtime=1.0)
    export(recorded)
    put_record(recorded, FILE, rule="prepare", params=["mine"], endtime=0.5)
    (recorded / FILE).write_text("prepared in another way")
    install_records(recorded)
    assert record_of(recorded, FILE) == {"rule": "prepare", "params": ["mine"], "endtime": 0.5}


def test_of_several_fitting_records_the_newest_counts(recorded: Path) -> None:
    for target, endtime in (("results/a/snakemake.json", 2.0), ("results/b/snakemake.json", 1.0)):
        put_record(recorded, FILE, endtime=endtime)
        export(recorded, target)
    install_records(recorded)
    assert record_of(recorded, FILE) == {"endtime": 2.0, "shellcmd": None}


def test_records_are_installed_once(recorded: Path) -> None:
    put_record(recorded, FILE, endtime=1.0)
    export(recorded)
    install_records(recorded)
    put_record(recorded, FILE, endtime=3.0)  # a run after the checkout
    install_records(recorded)
    assert record_of(recorded, FILE) == {"endtime": 3.0}


def test_an_unchanged_export_stays_the_same_file(recorded: Path) -> None:
    put_record(recorded, FILE, endtime=1.0)
    export(recorded)
    path = recorded / "results/mine/snakemake.json"
    before = path.stat().st_mtime_ns, sha256_of(path)
    export(recorded)
    assert (path.stat().st_mtime_ns, sha256_of(path)) == before


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"remote": "https://me:secret@example.org/versions"}, "credentials"),
        ({"remote": "/somewhere", "endpoint": "http://127.0.0.1:9000"}, "s3://"),
        ({"endpoint": "http://127.0.0.1:9000"}, "s3://"),
        ({"remote": "me@host:/versions"}, "ssh://HOST/FOLDER"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Versions(**settings)
    assert Versions(remote="s3://bucket/folder", endpoint="http://127.0.0.1:9000").track


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.4, 0.5, 0.9])), min_size=2, max_size=30))
def test_the_roc_curve_is_that_of_scikit_learn(items: list[tuple[bool, float]]) -> None:
    truth, scores = np.array([[True, 0.2], [False, 0.2], *items]).T
    expected = roc_curve(truth, scores, drop_intermediate=False)[:2]
    np.testing.assert_allclose(np.array(roc_points(truth.astype(bool), scores)).T, expected)
