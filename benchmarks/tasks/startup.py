"""How long before the work begins: the scripts of the stages up to their arguments, and `snakemake -n` when there is
nothing to do."""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.row import Row
from benchmarks.settings import Settings

ROOT = Path(__file__).parents[2]
# The stages that need neither torch nor scikit-learn.
STAGES = (
    "collect_metrics",
    "download",
    "evaluate",
    "extract",
    "fetch_tokenizer",
    "prepare",
    "summarize",
    "tokenize_dataset",
    "train_tokenizer",
)
STAGE_LIMIT, DRY_RUN_LIMIT = 1.0, 3.0


def run(settings: Settings) -> list[Row]:
    project = settings.folder / "finished"
    _finish(project)
    commands = {stage: [str(ROOT / "workflow" / "scripts" / f"{stage}.py"), "--help"] for stage in STAGES}
    commands |= {"python": ["-c", "pass"], "snakemake": [*_snakemake(), "--dry-run"]}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(1 + (3 if settings.quick else 15)):
        for name, command in commands.items():
            started = time.perf_counter()
            output = _python(command, project)
            seconds[name].append(time.perf_counter() - started)
    if "Nothing to be done" not in output:
        raise RuntimeError(f"snakemake has something to do in a finished project:\n{output}")
    typical = {name: median(rounds[1:]) for name, rounds in seconds.items()}
    slowest = max(STAGES, key=lambda stage: typical[stage])
    return [
        Row(
            f"start of a stage (the slowest: {slowest})",
            typical[slowest],
            "the limit",
            STAGE_LIMIT,
            typical["python"],
            goal=1.0,
            extrapolated=False,
            notes=f"{', '.join(f'{stage} {typical[stage]:.2f} s' for stage in STAGES)}; floor: Python alone",
        ),
        Row(
            "snakemake -n, nothing to do",
            typical["snakemake"],
            "the limit",
            DRY_RUN_LIMIT,
            floor_seconds=None,
            goal=1.0,
            extrapolated=False,
            notes="config.yaml; its files are empty ones here",
        ),
    ]


def _finish(project: Path) -> None:
    """A project as a run of config.yaml leaves it, as far as Snakemake can tell; its files are empty."""
    project.mkdir()
    shutil.copy(ROOT / "config.yaml", project)
    shutil.copytree(ROOT / "resources", project / "resources")
    table = _python([*_snakemake(), "--summary"], project)
    for line in table[table.index("output_file\t") :].splitlines()[1:]:
        file = project / line.split("\t")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix:
            file.touch()
        else:  # the pages for `snakemake --report`
            file.mkdir()
    _python([*_snakemake(), "--touch", "--cores", "1"], project)


def _snakemake() -> list[str]:
    profile = ROOT / "profiles" / "default"
    return ["-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--workflow-profile", str(profile)]


def _python(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return done.stdout
