"""Versions of data, checkpoints and results: recorded, kept elsewhere, brought back (docs/versions.md)."""


localrules:
    track,
    push,
    restore,


# After a checkout, before anything is planned.
if workflow.is_main_process:
    install_records(Path.cwd())


rule track:
    log:
        f"logs/track/{NAME}.log",
    params:
        contents=versioned_contents,
    shell:
        'python "$SCRIPTS/track.py" --contents {params.contents:q} 2>&1 | tee -i {log:q}'


rule push:
    log:
        f"logs/push/{NAME}.log",
    params:
        contents=versioned_contents,
        remote=remote_options,
    shell:
        'python "$SCRIPTS/push.py" --contents {params.contents:q} {params.remote:q} 2>&1 | tee -i {log:q}'


rule restore:
    log:
        f"logs/restore/{NAME}.log",
    params:
        contents=versioned_contents,
        remote=remote_options,
    shell:
        'python "$SCRIPTS/restore.py" --contents {params.contents:q} {params.remote:q} 2>&1 | tee -i {log:q}'
