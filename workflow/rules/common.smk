"""The validated config, and from it the slices, files and lists that the rules are made of."""

import atexit
import dataclasses
import functools
import hashlib
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG

from gptsmith.checkpoint.folder import config_file, weights_file
from gptsmith.code_version import code_version
from gptsmith.config.conventions import TOKENIZER_FILES
from gptsmith.config.load import canonical_json, load_config
from gptsmith.config.runs import LoRAOnly
from gptsmith.errors import UserError
from gptsmith.files import sha256_of
from gptsmith.versions.contents import Contents, RunContents, has_changed, is_versioned
from gptsmith.versions.records import install_records

try:
    CONFIG = load_config(config)
except UserError as error:
    sys.exit(f"error: {error}")

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
# Jobs run this Python, also where its environment was not activated. (As a part of each shell
# command the paths would make a moved project rerun.)
# In them `tee -i` outlives a Ctrl-C: the last words of a script are shown and kept. SIGTERM, which a cluster sends to
# all processes of a job before it takes the machine away, is the script's alone: bash and tee wait until it has saved.
# Threads that wait for each other sleep (OpenMP's default is to spin, which takes a core that anything else may want:
# docs/performance.md).
shell.prefix(
    "set -euo pipefail; trap : TERM; tee() {{ trap '' TERM; exec tee \"$@\"; }}; "
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    f" SCRIPTS={shlex.quote(str(SCRIPTS))} OMP_WAIT_POLICY=${{{{OMP_WAIT_POLICY:-passive}}}}; "
)

NAME, DATASETS, TOKENIZERS, MODELS, RUNS = (
    getattr(CONFIG, key) for key in ("name", "datasets", "tokenizers", "models", "runs")
)
# Resources, unlike params, are no reason to rerun: how a run is executed is not what it computes.
DEVICE, MIRROR, THREADS = CONFIG.execution.device, CONFIG.execution.mirror or "", CONFIG.execution.threads
SPLITS = ("train", "validation", "test")
REPORT = f"results/{NAME}/report.html"
PIECES = f"results/{NAME}/report"
METRICS = f"results/{NAME}/metrics.json"
# By `gptsmith check`, where it was asked.
ESTIMATE = f"results/{NAME}/estimate.json"


def limits(_wildcards):
    """As JSON: a function, because Snakemake takes braces in a plain string for wildcards."""
    return canonical_json(CONFIG.execution.limits)


def one_of(names):
    """Regular expression of a wildcard that stands for one of `names`, and for nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def code_of(script):
    return code_version(SCRIPTS / script)


def files_version(folder, patterns):
    """Hash of the content of the files in a folder of the project that are not Python."""
    found = sorted(file for pattern in patterns for file in (Path(workflow.basedir) / folder).glob(pattern))
    return hashlib.sha256(b"".join(map(Path.read_bytes, found))).hexdigest()[:16]


@functools.cache
def content_of(file):
    """Hash of a file of the user's own, for params: Snakemake compares the contents of inputs that
    have a newer date than the outputs, so it would miss that an older file was put in a file's place."""
    return sha256_of(file)[:16]


include: "common/datasets.smk"
include: "common/tokenizers.smk"
include: "common/models.smk"
include: "common/runs.smk"
include: "common/ablation.smk"
include: "common/report.smk"
include: "common/versions.smk"
include: "common/own_files.smk"
include: "common/ending.smk"
