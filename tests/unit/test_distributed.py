"""Several processes take the steps that one would take, and fail with one voice."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import CASES, IN_PARTS, trained

from gptsmith.errors import UserError
from gptsmith.training.compute import choose_compute

SCRIPT = Path(__file__).with_name("several_processes.py")


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All cases' trainings by two processes."""
    folder = tmp_path_factory.mktemp("distributed")
    output = folder / "results.json"
    subprocess.run([sys.executable, SCRIPT, output, folder / "states"], check=True, timeout=300)
    return json.loads(output.read_text())


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"dropout"}))
def test_two_processes_compute_what_one_does(name: str, of_two: dict[str, Any]) -> None:
    expected, found = trained(CASES[name]), of_two[name]
    assert len(found["history"]) == len(expected["history"]) > 6
    for ours, theirs in zip(found["history"], expected["history"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert found["weights"].keys() == expected["weights"].keys()
    for weight in expected["weights"]:
        tensors = (torch.tensor(result["weights"][weight]) for result in (found, expected))
        # The biases of keys have no gradient but rounding, and AdamW makes steps of it.
        torch.testing.assert_close(*tensors, rtol=1e-3, atol=3e-4)


@pytest.mark.parametrize("name", IN_PARTS)
def test_processes_go_on_together(name: str, of_two: dict[str, Any]) -> None:
    """Also when only one of them was told to stop."""
    found = of_two[f"{name} in parts"]
    assert len(found.pop("resumed_at")) == 2
    expected = {key: of_two[name][key] for key in found}
    assert found["weights"] == expected["weights"]
    assert found["history"] == [pytest.approx(row, rel=1e-6) for row in expected["history"]]


def test_processes_share_the_threads_of_their_job(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    try:
        for granted, own in ((5, 2), (1, 1)):
            choose_compute("cpu", "fp32", granted)
            assert torch.get_num_threads() == own
    finally:
        torch.set_num_threads(threads)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    threads = torch.get_num_threads()
    assert choose_compute("auto", "bf16", 2 * threads).device == torch.device("cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UserError, match=r"execution\.processes: 3 processes, but this machine has 2 GPUs"):
        choose_compute("cuda", "bf16", 3 * threads)


@pytest.mark.parametrize("who", ["one", "all"])
def test_a_failure_is_told_once(who: str) -> None:
    """Also while the others wait for the one that failed, and then lose it."""
    done = subprocess.run([sys.executable, SCRIPT, "--fail", who], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: the disk is full of cats\n"
