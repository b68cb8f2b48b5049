"""Limits of the config hold in the stages, and to change them reruns nothing."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from gptsmith.files import sha256_of

if TYPE_CHECKING:
    from conftest import Project

EXTRACTED = "data/raw/messages/messages.csv"


@pytest.mark.slow
def test_an_archive_over_the_limits_is_refused_until_they_are_raised(project: Project) -> None:
    mirror = project.folder / "mirror" / "data.example"
    mirror.mkdir(parents=True)
    messages = project.folder / "messages.csv"
    messages.write_text(messages.read_text() + "ham,\n" * 400_000)  # 555 to 1
    with zipfile.ZipFile(mirror / "messages.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(messages, "messages.csv")
    config = project.config()
    source = {"url": "https://data.example/messages.zip", "member": "messages.csv", "sha256": sha256_of(messages)}
    config["datasets"]["messages"]["sources"] = [source]
    config["execution"] |= {"mirror": "mirror", "limits": {}}
    project.write_config(config)
    refused = project.snakemake(EXTRACTED)
    assert refused.returncode != 0
    assert "bytes, more than execution.limits allows (unpacked_gb, unpack_ratio)" in refused.stderr
    assert [file.name for file in (project.folder / "data/raw/messages").glob("*")] == []
    config["execution"]["limits"] = {"unpack_ratio": 1000}
    project.write_config(config)
    project.run(EXTRACTED)
    assert (project.folder / EXTRACTED).read_bytes() == messages.read_bytes()
    config["execution"]["limits"] = {"unpacked_gb": 0.5, "download_gb": 3}
    project.write_config(config)
    assert project.planned(EXTRACTED) == {}
