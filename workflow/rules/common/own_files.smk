"""What the config names has to be there before the first job."""


def missing_files():
    """A line for each file or folder that the config names, the runs need, and is not there."""
    sources = {f"datasets.{name}.sources": DATASETS[name].sources for name in USED_DATASETS}
    sources |= {f"datasets.{name}.test_sources": RAW[f"{name}/test"] for name in USED_DATASETS if f"{name}/test" in RAW}
    for name in USED_TOKENIZERS:
        sources[f"tokenizers.{name}.vocab"] = TOKENIZERS[name].vocab or []
        sources[f"tokenizers.{name}.merges"] = TOKENIZERS[name].merges or []
    sources |= {f"models.{name}.gguf": MODELS[name].gguf for name in USED_GGUF}
    for place, alternatives in sources.items():
        for source in alternatives:
            if source.path is not None and not Path(source.path).is_file():
                yield f"{place}: no such file: {source.path}{folder_of(source.path)}"
    for name in USED_MODELS:
        if (path := MODELS[name].path) is None or Path(path) in FINETUNED:
            continue
        if not Path(path).is_dir():
            yield f"models.{name}.path: no such folder: {path}{folder_of(path)}"
            continue
        try:
            config_file(Path(path)), weights_file(Path(path))
        except UserError as error:
            yield f"models.{name}.path: {error}"


def folder_of(path):
    return "" if Path(path).is_absolute() else f" (in {Path.cwd()})"


# `restore` may be what brings them. (Snakemake itself knows its targets only later.)
if "restore" not in sys.argv and (missing := list(missing_files())):
    sys.exit("error: " + "\n".join(missing))
