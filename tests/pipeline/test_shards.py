"""A dataset that is read and tokenized in shards, each by a job of its own."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

SHARDS = {"messages": 4, "questions": 2}
UNTIL = ("--until", "join_tokens", "tokenize")


def with_shards(project: "Project", **shards: int) -> None:
    config = project.config()
    for dataset, number in shards.items():
        config["datasets"][dataset]["shards"] = number
    project.write_config(config)


def test_shards_are_planned_where_the_config_asks_for_them(project: "Project") -> None:
    with_shards(project, questions=3)
    planned = project.planned(*UNTIL)
    one = {"prepare": 1, "tokenize": 1, "train_tokenizer": 1}
    assert planned == one | {"read_shard": 3, "prepare_shards": 1, "tokenize_shard": 3, "join_tokens": 1}


@pytest.mark.slow
def test_shards_give_the_same_files_and_no_other_stage_runs_again(copied_project: "Project") -> None:
    def files() -> dict[str, bytes]:
        found = [*(copied_project.folder / "data").rglob("*"), *(copied_project.folder / "checkpoints").rglob("*")]
        return {str(path): path.read_bytes() for path in found if path.is_file()}

    before = files()
    with_shards(copied_project, **SHARDS)
    copied_project.run(*UNTIL)
    assert files() == before
    assert not [path for path in (copied_project.folder / "cache" / "shards").rglob("*") if path.is_file()]
    assert copied_project.planned().keys() <= {"report"}
    copied_project.run()
    assert copied_project.planned() == {}
