"""The state of a training, saved as it goes on, so that a killed one is taken up where it was.

A state is a file `<folder>/<key>/step-<step>-<part>-<checksum>.safetensors`. The key is a hash of all that decides
what the training computes, so nothing is ever resumed with other settings, code or inputs. The checksum is that of
the file, so a damaged one is noticed. Neither files nor folders are ever changed, only made and removed, so
processes that happen to train the same thing do not disturb each other.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from rich.filesize import decimal
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gptsmith.config.load import canonical_json
from gptsmith.files import sha256_of
from gptsmith.training.compute import Compute
from gptsmith.training.course import State
from gptsmith.training.distributed import common, n_processes, rank

KEPT = 2
# Saving may take this share of the time of a training.
SHARE_OF_TIME = 0.05
KEY = re.compile("[0-9a-f]{32}")
PARTIAL = ".partial"
ABANDONED_SECONDS = 3600.0
"""Age at which a file that is being written belongs to a process that was killed."""


@dataclass(frozen=True)
class Saving:
    """Where states are, how often one is saved, and when those are removed that nobody has taken up."""

    folder: Path
    code: str
    """Version of the code that trains."""
    seconds: float = 60.0
    """Between two states of a training, at least."""
    limit_bytes: float = 20e9
    """Of all states together."""
    days: float = 30.0
    """Longest that a state is kept."""

    @classmethod
    def by(cls, arguments: Namespace, code: str) -> "Saving":
        """From the options that gptsmith.command.add_training_options adds."""
        room = arguments.state_gb * 1e9
        return cls(arguments.state, code, arguments.checkpoint_seconds, room, arguments.state_days)


@dataclass
class States:
    """Those of one training."""

    saving: Saving
    key: str
    part: int
    """Number of the process that writes the files: its own where each has a share of the weights, otherwise 0."""
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.saving.seconds if self.part == rank() else math.inf

    @property
    def folder(self) -> Path:
        return self.saving.folder / self.key

    def due(self) -> bool:
        return time.monotonic() >= self._next

    def newest(self) -> State | None:
        """The newest state that is whole, in all processes the same one; None if there is none."""
        whole = {_step_of(path): path for path in filter(_is_whole, self._files())}
        steps = common(set(whole))
        if not steps:
            return None
        try:
            return _read(whole[max(steps)])
        except FileNotFoundError:
            # Whoever trained the same has just ended. (Several processes would have to agree on that.)
            if n_processes() > 1:
                raise
            return None

    def save(self, state: State) -> bool:
        """Write `state`, where that is up to this process, and remove all but the last `KEPT`.

        No training ends because its state finds no room: that is told, and False returned.
        """
        if self.part != rank():
            return True
        started, size = time.monotonic(), sum(tensor.nbytes for tensor in state[0].values())
        if KEPT * size > self.saving.limit_bytes:
            print(f"{KEPT} states of {decimal(size)} are more than execution.state_gb: none is saved", file=sys.stderr)
            self._next = math.inf
            return False
        saved = True
        try:
            _write(self.folder, f"step-{state[1]['step']:09}-{self.part}", state)
        except (OSError, SafetensorError) as error:
            print(f"the state of the training could not be saved and it goes on without: {error}", file=sys.stderr)
            saved = False
        for path in self._files()[:-KEPT]:
            with contextlib.suppress(OSError):
                path.unlink()
        seconds = time.monotonic() - started
        self._next = time.monotonic() + max(self.saving.seconds, seconds / SHARE_OF_TIME)
        return saved

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"step-*-{self.part}-*.safetensors"))


def states_of(saving: Saving, compute: Compute, **decisive: Any) -> States:
    """Those of the training that `decisive` (settings, seed, inputs: JSON values), the code and the machine decide."""
    machine = {
        "device": compute.device.type,
        "precision": compute.precision,
        "sharding": compute.sharding,
        "compile": compute.compile,
        "threads": torch.get_num_threads(),
        "processes": n_processes(),
    }
    key = hashlib.sha256(canonical_json({"code": saving.code, **machine, **decisive}).encode()).hexdigest()[:32]
    if rank() == 0:
        clear_states(saving, but=key)
    return States(saving, key, rank() if compute.sharding == "full" else 0)


def clear_states(saving: Saving, but: str) -> None:
    """Remove the states that are too old, and the oldest while all take more room than allowed; never those of
    the key `but`, and for room none of the last day: they may be of trainings that run or wait for their turn."""
    total, now = 0, time.time()
    folders = [path for path in saving.folder.glob("*") if KEY.fullmatch(path.name) and path.is_dir()]
    for folder, changed in sorted(((path, _last_change(path)) for path in folders), key=itemgetter(1), reverse=True):
        for partial in folder.glob(f"*{PARTIAL}"):
            if _last_change(partial) < now - ABANDONED_SECONDS:
                with contextlib.suppress(OSError):
                    partial.unlink()
        total, days = total + sum(map(_size, folder.glob("*"))), (now - changed) / 86400
        if folder.name != but and (days > saving.days or (days > 1 and total > saving.limit_bytes)):
            shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, name: str, state: State) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=name, suffix=PARTIAL, dir=folder, delete=False) as file:
        temporary = Path(file.name)
    try:
        save_file(state[0], temporary, metadata={"values": json.dumps(state[1])})
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.rename(folder / f"{name}-{_checksum(temporary)}.safetensors")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path) -> State:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["values"])  # noqa: SIM118


def _is_whole(path: Path) -> bool:
    """A damaged file is removed: it would count among the last that are kept."""
    try:
        if path.stem.endswith(_checksum(path)):
            return True
        print(f"{path}: damaged, so the state before it is taken", file=sys.stderr)
        path.unlink()
    except FileNotFoundError:  # removed by a process that trains the same
        pass
    except OSError as error:
        print(f"{path}: cannot be read, so the state before it is taken ({error})", file=sys.stderr)
    return False


def _step_of(path: Path) -> int:
    return int(path.name.split("-")[1])


def _checksum(path: Path) -> str:
    return sha256_of(path)[:16]


def _last_change(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):  # removed by another process
        return path.stat().st_mtime
    return 0.0


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
