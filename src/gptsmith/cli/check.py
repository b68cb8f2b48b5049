"""`gptsmith check`: what a config will do, and what that takes on this machine."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from gptsmith.errors import UserError

EXAMPLES = """
\b
Examples:
  gptsmith check messages.yaml
  gptsmith check messages.yaml --json | jq .total.seconds
"""


def check(
    config: Annotated[Path, typer.Argument(help="The config, as for --configfile.")],
    cores: Annotated[int, typer.Option(min=1, help="As for Snakemake's --cores.")] = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="The estimate as JSON on standard output, all words on standard error.")
    ] = False,
) -> None:
    """Say what will run, what is cut off, and roughly how long it takes, before anything heavy starts.

    The estimate is kept, and the report shows it beside what the run then took.
    """
    # Only this command needs them, torch above all, which takes seconds to import.
    import psutil
    import yaml

    from gptsmith.config.load import load_config
    from gptsmith.config.syntax import check_syntax
    from gptsmith.files import write_json
    from gptsmith.inspection.requirements import describe, requirements_of
    from gptsmith.inspection.stages import Job, Machine, describe_estimate, estimate_json, estimate_stages
    from gptsmith.training.compute import choose_compute
    from gptsmith.training.speed import product_rate

    check_syntax(config)
    settings = load_config(yaml.safe_load(config.read_text(encoding="utf-8")))
    # What would run now, and all that a run from the beginning would.
    plan, whole = (_dry_run(config, *options) for options in ((), ("--forceall",)))
    told = sys.stderr if as_json else sys.stdout
    print(_plan(config, _jobs(plan)), file=told)
    found = requirements_of(settings)
    print(*describe(settings, found), sep="\n", file=told)
    execution = settings.execution
    compute = choose_compute(execution.device, settings.precision, min(cores, execution.threads))
    rates = {
        shape: product_rate(compute, rows, shape.d_model, shape.feedforward_width)
        for shape, rows in found.products.items()
    }
    machine = Machine(str(compute.device), cores, rates)
    stages = estimate_stages(settings, found, [Job(*job) for job in _jobs(whole)], machine)
    estimate = estimate_json(settings, found, stages, machine)
    free = psutil.virtual_memory().available, shutil.disk_usage(Path.cwd()).free
    print(*describe_estimate(stages, estimate, found, *free), sep="\n", file=told)
    file = Path("results", settings.name, "estimate.json")
    write_json(file, estimate)
    print(f"written: {file} (the report compares it with what a run took)", file=told)
    if as_json:
        print(json.dumps(estimate, ensure_ascii=False))


def _dry_run(config: Path, *options: str) -> str:
    """What Snakemake says it would do."""
    if not Path("Snakefile").is_file():
        raise UserError(f"no Snakefile in {Path.cwd()}: run this in the project's folder")
    command = [sys.executable, "-m", "snakemake", "--dry-run", *options, "--cores", "1", "--configfile", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        cause = re.search(r"^error: (.*)", result.stderr, re.MULTILINE | re.DOTALL)
        raise UserError(cause[1].strip() if cause else result.stderr.strip()[-2000:])
    return result.stdout + result.stderr


JOB = re.compile(r"^(?:local)?rule (\S+):\n((?: {4}.*\n)*)", re.MULTILINE)
FILE = re.compile(r"^ {4}(?:benchmark: logs/benchmarks|log: logs)/([^/\n]+)/(.*)\.(?:jsonl|log)", re.MULTILINE)


def _jobs(dry_run: str) -> list[tuple[str, str]]:
    """Rule and what of, as the job's benchmark or log is named."""
    jobs = []
    for rule, block in JOB.findall(dry_run):
        files = FILE.findall(block)
        if rule != "all":
            jobs.append(files[-1] if files else (rule, ""))
    return jobs


def _plan(config: Path, jobs: list[tuple[str, str]]) -> str:
    from gptsmith.inspection.stages import counted
    from gptsmith.report.stage_graph import READS

    if not jobs:
        return f"{config}: nothing to do, all is there"
    # Snakemake plans them in another order each time.
    order = [*READS, *sorted({rule for rule, _ in jobs} - READS.keys())]
    return f"{config}: {len(jobs)} jobs ({counted(sorted((rule for rule, _ in jobs), key=order.index))})"
