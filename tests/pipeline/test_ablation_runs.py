"""An ablation through Snakemake: a config without a run, its table in the report, what runs again, what reproduces."""

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from conftest import Project

VARIANTS = {"rms-norm": {"norm": "rms_norm"}, "shared-keys": {"n_kv_heads": 1, "bias": False}}


def write_ablation(project: "Project", variants: dict[str, Any], seeds: list[int]) -> None:
    config = project.config()
    config.pop("runs", None)
    config["name"] = "parts"
    config["ablation"] = {"model": "tiny", "seeds": seeds, "variants": variants}
    project.write_config(config)


@pytest.mark.slow
def test_an_ablation(copied_project: "Project") -> None:
    folder = copied_project.folder
    results = folder / "results" / "parts"

    # Tokens are there; no run is needed, nor the model itself.
    write_ablation(copied_project, VARIANTS, [1])
    whole = {"pretrain_variant": 3, "score_variant": 3, "measure_variants": 1, "ablation": 1}
    end = {"ablation": 1, "collect_metrics": 1, "report": 1}
    assert copied_project.planned() == whole | end
    copied_project.run()
    assert copied_project.planned() == {}

    summary = json.loads((results / "ablation" / "summary.json").read_text())
    assert [row["name"] for row in summary["rows"]] == ["baseline", *VARIANTS]
    losses = {row["name"]: row["loss"]["by_seed"] for row in summary["rows"]}
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics == {"ablation": {row["name"]: {"loss": row["loss"]["mean"]} for row in summary["rows"]}}
    tokens = summary["tokens"]
    for name, seeds in losses.items():
        for seed, loss in seeds.items():
            windows = pq.read_table(results / "ablation" / name / f"seed-{seed}" / "windows.parquet", partitioning=None)
            assert sum(windows["negative_log_likelihood"].to_pylist()) / tokens == pytest.approx(loss)
    page = (results / "report.html").read_text()
    for said in ("Ablation", "norm: rms_norm", "bias: false, n_kv_heads: 1", "Tokens a second"):
        assert said in page
    assert (results / "report" / "ablation" / "Results.html").is_file()

    # A variant that changes redoes its own trainings, and the measuring that compares all.
    changed = VARIANTS | {"shared-keys": {"n_kv_heads": 1}}
    write_ablation(copied_project, changed, [1])
    assert copied_project.planned() == {"pretrain_variant": 1, "score_variant": 1, "measure_variants": 1} | end
    write_ablation(copied_project, VARIANTS, [1, 2])
    assert copied_project.planned() == {"pretrain_variant": 3, "score_variant": 3} | end

    # Everything once more from nothing gives the same rows: losses and memory to the last digit.
    write_ablation(copied_project, VARIANTS, [1])
    for place in ("results/parts", "checkpoints/ablation"):
        shutil.rmtree(folder / place)
    copied_project.run()
    again = json.loads((results / "ablation" / "summary.json").read_text())
    timed = {"tokens_per_second", "speed_ratio"}
    for first, second in zip(summary["rows"], again["rows"], strict=True):
        assert {key: first[key] for key in first.keys() - timed} == {key: second[key] for key in second.keys() - timed}
        if first["name"] != "baseline":
            ratio = second["speed_ratio"]
            assert 0 < ratio["low"] <= ratio["value"] <= ratio["high"]
