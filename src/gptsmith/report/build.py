"""The report: everything a run left behind, on one page that needs nothing else."""

import base64
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from gptsmith.config.load import Config, load_config
from gptsmith.data.prepared import near_copies_in_train
from gptsmith.files import write_text
from gptsmith.report import ablation, classification, instruction, learning_curve, sweeps, wording
from gptsmith.report.data_table import FIRST_ROWS, DataTable, preview, script_json
from gptsmith.report.history import Figure, learning_curves
from gptsmith.report.items import predictions_table, responses_table
from gptsmith.report.models import model_views
from gptsmith.report.near_copies import NearCopies, near_copies
from gptsmith.report.pieces import write_pieces
from gptsmith.report.results import RunResults, read_object, read_run
from gptsmith.report.runs import Comparison, Table, comparisons, results_table, settings_of, siblings
from gptsmith.report.stage_graph import stage_graph
from gptsmith.report.stages import read_estimate, read_stages
from gptsmith.report.text import plain, untrusted

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class RunView:
    """What the template shows of one run, whichever its task, and of its task."""

    anchor: str
    results: RunResults
    headline: wording.Headline
    warning: str | None
    settings: list[tuple[str, str]]
    table: Table
    comparisons: list[Comparison]
    near_copies: NearCopies | None
    curves: list[Figure]
    classification: classification.ClassificationView | None
    instruction: instruction.InstructionView | None
    items: DataTable
    sweep: sweeps.SweepView | None
    growth: learning_curve.CurveView | None


def build_report(
    name: str,
    settings: dict[str, Any],
    results: Path,
    prepared: dict[str, Path],
    stages: list[Path],
    verifications: dict[str, Path],
    output: Path,
    compared: Sequence[Path] = (),
    pretraining: dict[str, Path] | None = None,
    estimate: Path | None = None,
    folders: list[Path] | None = None,
    ablated: Path | None = None,
    variants: Sequence[Path] = (),
) -> None:
    """Write the HTML report of all runs in `settings`; equal files give an equal report.

    `results` is the folder results/<name>; `prepared` maps a dataset to its report.json, `verifications`
    a model to its verification.json, `pretraining` a model to the history of its pretraining; `compared` are the
    comparisons of runs that share a dataset, `stages` benchmark files, `estimate` is what `gptsmith check` expected,
    `folders` are all that the run left on the disk; `ablated` is the summary of the ablation, `variants` are the
    provenance.json of its trainings. Raises UserError where a file is missing or broken.
    """
    compared_parts = read_object(ablated) if ablated else None
    if compared_parts:
        settings = ablation.in_order(settings, compared_parts)
    asked = load_config(settings)
    config = sweeps.with_chosen(asked, results)
    datasets = {dataset: read_object(path) for dataset, path in prepared.items()}
    runs = [read_run(results / run) for run in config.runs]
    expected = read_object(estimate) if estimate else None
    timed = read_stages(stages, expected)
    swapped = ablation.view(compared_parts, config, list(variants)) if compared_parts else None
    provenances = [seed.provenance for run in runs for seed in run.seeds]
    provenances += [training.provenance for training in swapped.trainings] if swapped else []
    environment = _environment()
    views = [_run_view(place, run, config, asked, results, datasets) for place, run in enumerate(runs)]
    page = environment.get_template("report.html.jinja").render(
        name=name,
        started=max(provenance["started"] for provenance in provenances),
        datasets=datasets,
        models=model_views(config, verifications, pretraining or {}),
        runs=views,
        ablation=swapped,
        siblings=siblings(config, runs, [read_object(path) for path in compared]),
        stages=timed,
        stage_graph=stage_graph(timed, {run: settings.model for run, settings in config.runs.items()}),
        estimate=read_estimate(expected, timed, settings, folders or []) if expected else None,
        settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100),
        file_name=shlex.quote(f"{name}.yaml"),
        commits=sorted({provenance["git_commit"] for provenance in provenances if provenance["git_commit"]}),
        changed=any(provenance["git_dirty"] for provenance in provenances),
        inputs={path: sha256 for provenance in provenances for path, sha256 in provenance["inputs"].items()},
        versions=_versions(provenances),
    )
    write_pieces(output.with_suffix(""), views, swapped, environment.get_template("piece.html.jinja"))
    write_text(output, page)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data": untrusted, "plain": plain, "preview": preview, "script_json": script_json}
    script = (FOLDER / "report.js").read_text(encoding="utf-8")
    environment.globals |= {
        "say": wording,
        "FIRST_ROWS": FIRST_ROWS,
        "style": Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 (a file of the package)
        "script": Markup(script),  # noqa: S704 (a file of the package)
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return environment


def _run_view(
    place: int,
    run: RunResults,
    config: Config,
    asked: Config,
    results: Path,
    datasets: dict[str, dict[str, Any]],
) -> RunView:
    """`config` is as it was chosen from what was `asked` for."""
    anchor, summary = f"run-{place}", run.summary
    prepared, classifies = datasets[summary["dataset"]], summary["task"] == "classification"
    items_table = predictions_table if classifies else responses_table
    copies = near_copies_in_train(prepared, "test")
    return RunView(
        anchor=anchor,
        results=run,
        headline=wording.headline(summary),
        warning=wording.warning(summary),
        settings=settings_of(config.runs[run.name], summary["task"]),
        table=results_table(summary),
        comparisons=comparisons(summary),
        near_copies=near_copies(summary, prepared),
        curves=learning_curves(
            anchor, {seed.seed: seed.history for seed in run.seeds}, "text" if classifies else "token"
        ),
        classification=classification.view(anchor, run, prepared["positive_label"]) if classifies else None,
        instruction=None if classifies else instruction.view(anchor, run),
        items=items_table(f"{anchor}-items", run, f"results/{config.name}/{run.name}", copies),
        sweep=sweeps.view(anchor, sweeps.read_sweep(results, run.name)) if asked.runs[run.name].grid else None,
        growth=learning_curve.view(anchor, read_object(results / run.name / "learning_curve.json"))
        if asked.runs[run.name].learning_curve
        else None,
    )


def _versions(provenances: list[dict[str, Any]]) -> dict[str, str]:
    """Library versions over all trainings; more than one where they differ."""
    found: dict[str, set[str]] = {}
    for provenance in provenances:
        for package, version in {"python": provenance["python"], **provenance["versions"]}.items():
            found.setdefault(package, set()).add(version)
    return {package: ", ".join(sorted(versions)) for package, versions in sorted(found.items())}
