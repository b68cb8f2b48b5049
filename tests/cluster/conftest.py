"""A small project, and a Slurm of one node on this machine, with daemons, ports and folders of its own.

Its two GPUs are none.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipeline.conftest import Project, make_project, tiny_config

TELL = """
import json, os
with open("seen.jsonl", "a") as file:
    names = ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES", "RANK")
    print(json.dumps({name: os.environ.get(name) for name in names}), file=file)

"""
# The plugin asks Slurm for the state of jobs at growing intervals, which would be most of the tests' time.
ASK_EVERY_SECOND = """
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: None)
"""

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "munged")

# SlurmdParameters lets the node claim more than it has: cores and memory are asked for, not used.
SLURM_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES
"""


@dataclass(frozen=True)
class Slurm:
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which Slurm's programs find this cluster."""
        return {"SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def answer(self, *command: str) -> str:
        variables = os.environ | self.environment
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout

    def is_up(self) -> bool:
        try:
            return self.answer("sinfo", "--noheader", "--format=%T").strip() == "idle"
        except subprocess.CalledProcessError:
            return False

    def states(self) -> dict[str, str]:
        """Job -> state, of all jobs since the start."""
        lines = self.answer("squeue", "--noheader", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)


def wait_until(happens: Callable[[], bool], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"Slurm is not installed (no {', '.join(missing)}): apt-get install slurmctld slurmd munge")
    if os.getuid() != 0:
        pytest.skip("slurmd needs root to start jobs")
    # Not pytest's folder: a socket's path is at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        with ExitStack() as daemons:
            yield start(Slurm(folder), daemons)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(slurm: Slurm, daemons: ExitStack) -> Slurm:
    folder = slurm.folder
    folder.chmod(0o755)
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = free_ports()
    configuration = SLURM_CONF.format(folder=folder, host=host, controller_port=controller_port, node_port=node_port)
    (folder / "slurm.conf").write_text(configuration)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    # The plugin clears SLURM_CONF before it starts a step.
    srun = folder / "bin" / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = ("key-file", "socket", "pid-file", "seed-file")
    munge = [f"--{name}={folder}/munge.{name.removesuffix('-file')}" for name in files]
    daemons.enter_context(daemon(folder, "munged", "--foreground", f"--log-file={folder}/munge.log", *munge))
    wait_until((folder / "munge.socket").exists, "munged")
    daemons.enter_context(daemon(folder, "slurmctld", "-D", "-f", f"{folder}/slurm.conf"))
    daemons.enter_context(daemon(folder, "slurmd", "-D", "-f", f"{folder}/slurm.conf"))
    daemons.callback(end_jobs, slurm)
    wait_until(slurm.is_up, f"Slurm to come up; see {folder}/*.log", 60)
    return slurm


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@contextmanager
def daemon(folder: Path, *command: str) -> Iterator[None]:
    """A program that runs until the end of the block, or of this process."""
    with (folder / f"{command[0]}.log").open("w") as log:
        # In a session of its own, where Ctrl-C in the terminal does not reach it before the jobs are ended.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command], stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def end_jobs(slurm: Slurm) -> None:
    """Before the daemons go, which would leave their jobs running."""
    slurm.answer("scancel", "--user=root")
    slurm.answer("scancel", "--user=root", "--signal=KILL", "--full")
    wait_until(lambda: not {"RUNNING", "COMPLETING"} & {*slurm.states().values()}, "jobs to end", 60)


@pytest.fixture(scope="session")
def prepared_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Random weights to fine-tune; all before the fine-tuning has been made on this machine."""
    project = make_project(tmp_path_factory.mktemp("cluster") / "my project")
    config = tiny_config()
    del config["runs"]["assistant"], config["datasets"]["questions"], config["models"]["tiny"]["pretrain"]
    config["models"]["tiny"]["random"] = True
    config["tokenizers"]["tiny-bpe"]["train_on"] = ["messages"]
    config["execution"] |= {"device": "cpu"}
    project.write_config(config)
    # Fine-tuning tells where it ran.
    script = project.folder / "workflow" / "scripts" / "finetune.py"
    script.write_text(script.read_text().replace('if __name__ == "__main__":', TELL + 'if __name__ == "__main__":'))
    with (project.folder / "Snakefile").open("a") as snakefile:
        snakefile.write(ASK_EVERY_SECOND)
    project.run("data/tokens/tiny-bpe/messages/test.parquet", "checkpoints/base/tiny/model.safetensors")
    return project


@pytest.fixture
def project(prepared_project: Project, tmp_path: Path) -> Project:
    return Project(Path(shutil.copytree(prepared_project.folder, tmp_path / "my project")))
