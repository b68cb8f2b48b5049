"""Raw text in, an evaluated fine-tuned GPT-2 out: `snakemake --cores 2`."""

import atexit
import os
import sys
from pathlib import Path

from snakemake.logging import logger

from gptsmith.config.syntax import check_syntax
from gptsmith.errors import UserError
from gptsmith.monitoring.recorder import Recorder
from gptsmith.stale_locks import hold_folder

# After a `kill -9` nobody needs to say --unlock.
if workflow.is_main_process:
    HELD = hold_folder()

try:
    for file in workflow.overwrite_configfiles or ["config.yaml"]:
        check_syntax(Path(os.path.relpath(file)))
except UserError as error:
    sys.exit(f"error: {error}")

# A --configfile would be merged over this one, run by run: so only when none is named.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/tokenizer.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/trials.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/versions.smk"


if ABLATION:

    include: "workflow/rules/ablation.smk"


if workflow.is_main_process and not workflow.output_settings.dryrun:
    logger.addHandler(Recorder(NAME))  # for `gptsmith progress`
    logger.addFilter(tell_report_if_all_is_done)


rule all:
    default_target: True
    input:
        REPORT,
        METRICS,


onstart:
    check_scheduler()


onsuccess:
    track_if_changed()
    tell_report()


# Snakemake has more to say after this block; the cause goes below it.
onerror:
    atexit.register(print, *causes(), sep="\n", file=sys.stderr)
