"""`gptsmith check`: what a config will do, and what that takes on this machine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from gptsmith.errors import UserError


def check(
    config: Annotated[Path, typer.Argument(help="The config, as for --configfile.")],
    cores: Annotated[int, typer.Option(min=1, help="As for Snakemake's --cores.")] = 2,
) -> None:
    """Say what will run, what is cut off, and roughly how long it takes, before anything heavy starts.

    Example: gptsmith check messages.yaml
    """
    # Only this command needs them, torch above all, which takes seconds to import.
    import psutil
    import yaml

    from gptsmith.config.load import load_config
    from gptsmith.config.syntax import check_syntax
    from gptsmith.inspection.requirements import describe, requirements_of
    from gptsmith.training.compute import choose_compute
    from gptsmith.training.speed import product_rate

    check_syntax(config)
    settings = load_config(yaml.safe_load(config.read_text(encoding="utf-8")))
    print(_plan(config))
    found = requirements_of(settings)
    execution = settings.execution
    compute = choose_compute(execution.device, settings.precision, min(cores, execution.threads))
    rates = {
        shape: product_rate(compute, rows, shape.d_model, shape.feedforward_width)
        for shape, rows in found.products.items()
    }
    free = psutil.virtual_memory().available, shutil.disk_usage(Path.cwd()).free
    print(*describe(settings, found, rates, str(compute.device), cores, *free), sep="\n")


def _plan(config: Path) -> str:
    """What a dry run of Snakemake says it would do."""
    if not Path("Snakefile").is_file():
        raise UserError(f"no Snakefile in {Path.cwd()}: run this in the project's folder")
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--configfile", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        cause = re.search(r"^error: (.*)", result.stderr, re.MULTILINE | re.DOTALL)
        raise UserError(cause[1].strip() if cause else result.stderr.strip()[-2000:])
    table = re.search(r"^Job stats:\n.*\n[- ]+\n((?:\S+ +\d+\n)*?)total", result.stdout + result.stderr, re.MULTILINE)
    jobs = dict(line.split() for line in table[1].splitlines()) if table else {}
    counted = [f"{rule} {count}" if int(count) > 1 else rule for rule, count in jobs.items() if rule != "all"]
    total = sum(int(count) for rule, count in jobs.items() if rule != "all")
    return f"{config}: {total} jobs ({', '.join(counted)})" if total else f"{config}: nothing to do, all is there"
