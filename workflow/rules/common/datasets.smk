"""Where datasets are read from, and what decides their rows."""

# What datasets are read from, by folder in data/raw: `messages`, and `messages/test` where the test split is a file of
# its own.
RAW = {name: dataset.sources for name, dataset in DATASETS.items()}
RAW |= {f"{name}/test": tests for name, d in DATASETS.items() if (tests := getattr(d, "test_sources", None))}


def own_source(folder):
    """The `path:` source, or None where the file is downloaded."""
    source = RAW[folder][0]
    return source if source.path is not None else None


def is_downloaded(folder):
    return own_source(folder) is None


def is_extracted(folder):
    source = own_source(folder)
    return source is None or source.member is not None or source.sha256 is not None


EXTENSIONS = {"text": "txt"}


def extracted_file(folder):
    dataset = folder.partition("/")[0]
    kind = DATASETS[dataset].format.type
    return f"data/raw/{folder}/{dataset}.{EXTENSIONS.get(kind, kind)}"


def file_to_read(folder):
    """A user's own file where it lies, or what was extracted."""
    return extracted_file(folder) if is_extracted(folder) else own_source(folder).path


def raw_file(wildcards):
    return file_to_read(wildcards.dataset)


def test_file(wildcards):
    """The file with the test split, where there is one."""
    folder = f"{wildcards.dataset}/test"
    return file_to_read(folder) if folder in RAW else []


def own_content(folder):
    source = own_source(folder)
    return content_of(source.path) if source else ""


def own_contents(wildcards):
    """Of all files that a dataset is prepared from."""
    return "".join(own_content(folder) for folder in raw_folders([wildcards.dataset]))


def raw_folders(datasets):
    """In data/raw."""
    return [folder for folder in RAW if folder.partition("/")[0] in datasets]


def archive_of(wildcards):
    source = own_source(wildcards.folder)
    return source.path if source else f"data/raw/{wildcards.folder}/archive"


def sources_of(folder):
    return as_sources(RAW[folder])


def as_sources(sources):
    return canonical_json([source.model_dump(exclude_none=True) for source in sources])


def preparation_of(dataset):
    """Settings of a dataset that decide its rows."""
    settings = DATASETS[dataset].model_dump(
        mode="json", exclude_defaults=True, exclude={"sources", "shards", "test_sources"}
    )
    return canonical_json({**settings, "sources": [{"path": "raw"}]})


SHARDED = [name for name, dataset in DATASETS.items() if dataset.shards > 1]
NOT_SHARDED = [name for name in DATASETS if name not in SHARDED]


def shards_of(dataset):
    """`1-of-8` and so on."""
    total = DATASETS[dataset].shards
    return [f"{number}-of-{total}" for number in range(1, total + 1)]
