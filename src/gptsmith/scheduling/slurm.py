"""How Snakemake can ask Slurm what became of a job.

`sacct` needs accounting, which many small clusters do without. The executor plugin takes it wherever the program is
installed, and then waits for ever for jobs that ended long ago.
"""

import re
import shutil
import subprocess
from typing import Literal

from gptsmith.errors import UserError

StatusCommand = Literal["sacct", "squeue"]

# The plugin waits up to 180 seconds from one look at `squeue` to the next, and must find ended jobs there.
MIN_JOB_AGE = 200


def status_command(wanted: StatusCommand) -> StatusCommand:
    """`wanted`, or the other where only that one can tell the state of jobs that ended.

    Raises UserError where neither can, or where no Slurm answers.
    """
    configuration = _answer("scontrol", "show", "config")
    if configuration is None:
        raise UserError("no Slurm answers (scontrol show config): start Snakemake where sbatch works")
    if _answer("sacct", "--noheader", "--allocations") is not None:
        return wanted
    if (age := _min_job_age(configuration)) >= MIN_JOB_AGE:
        # The plugin goes back to sacct where it is installed and MinJobAge is below three times the first wait.
        return "squeue"
    raise UserError(
        f"Slurm keeps no accounts here (sacct) and forgets a job {age} s after its end (MinJobAge), before Snakemake"
        f" sees it\nask the administrators for accounting or for MinJobAge={MIN_JOB_AGE} or more"
    )


def _min_job_age(configuration: str) -> int:
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", configuration, re.MULTILINE)
    return int(found[1]) if found else 0


def _answer(*command: str) -> str | None:
    """What the command prints, or None where it is missing, fails, or says nothing for a minute."""
    if shutil.which(command[0]) is None:
        return None
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
