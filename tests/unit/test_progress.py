"""How far a run is: the line in logs, what Snakemake's events make, and what is said of it."""

import json
import logging
import os
import platform
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gptsmith.cli import app, progress
from gptsmith.monitoring.recorder import Recorder
from gptsmith.monitoring.runs import SILENT_AFTER, read_runs, seconds_known, seconds_left, state_of, step_of
from gptsmith.monitoring.snapshot import as_json, headline, snapshot
from gptsmith.progress_line import Step, clock, parse


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def event(name: str, **values: Any) -> logging.LogRecord:
    record = logging.LogRecord("snakemake", logging.INFO, "x.py", 1, None, (), None)
    record.__dict__.update(event=name, **values)
    return record


def begun(recorder: Recorder, **counts: int) -> None:
    recorder.emit(event("resources_info", cores=2))
    recorder.emit(event("run_info", stats=counts | {"all": 1, "total": sum(counts.values()) + 1}))


def job(recorder: Recorder, number: int, rule: str, what: str, result: str | None = None) -> Path:
    """Snakemake starts a job; its log."""
    log = Path("logs", rule, f"{what}.log")
    recorder.emit(
        event("job_info", jobid=number, rule_name=rule, log=[str(log)], output=[], benchmark=result, threads=1)
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def gptsmith(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.argv[0] = 'gptsmith'; from {app.__name__} import main; main()"
    command = [sys.executable, "-c", code, "progress", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("detail", ["", "loss 0.412, validation 1.250, 3,400 tokens/s", "batches of 64"])
def test_the_line_is_read_as_it_is_written(detail: str) -> None:
    step = Step("spam: a, seed 1", "step", 12, 1400, detail, 3723)
    assert str(step).endswith(", 1:02:03 left")
    assert parse(f"{step}\n") == step


def test_figures_of_a_line() -> None:
    step = Step("spam", "step", 1, 2, "loss 0.412, validation -1.250, 3,400 tokens/s, nan", 1)
    assert step.figures == {"loss": 0.412, "validation": -1.25, "tokens/s": 3400}


@pytest.mark.parametrize(
    "line", ["", "spam: saved", "spam: step 1/2", "a\x1b[2J: step 1/2, 0:01 left", "error: step 1 of 2, 3 left"]
)
def test_other_lines_say_nothing_of_progress(line: str) -> None:
    assert parse(line) is None


def test_clock() -> None:
    assert [clock(0), clock(59.6), clock(3600)] == ["0:00", "1:00", "1:00:00"]


def test_a_run_as_its_events_tell_it() -> None:
    recorder = Recorder("mine")
    begun(recorder, prepare=1, finetune=2, report=1)
    job(recorder, 1, "prepare", "mails")
    recorder.emit(event("job_finished", job_id=1))
    log = job(recorder, 2, "finetune", "mine/spam/seed-1")
    log.write_text(f"{Step('spam', 'step', 5, 20, 'loss 0.5, 100 tokens/s', 40)}\nsomething else\n")
    (run,) = read_runs()
    assert (run.name, run.total, run.count("done"), run.cores) == ("mine", 4, 1, 2)
    assert run.waiting == {"finetune": 1, "report": 1}
    seen = snapshot(run)
    assert seen.state == "running"
    assert [one.title for one in seen.running] == ["finetune mine/spam/seed-1"]
    told = as_json(seen)
    assert told["running"][0] | {"since": ""} == {
        "rule": "finetune",
        "what": "mine/spam/seed-1",
        "since": "",
        "log": str(log),
        "unit": "step",
        "done": 5,
        "total": 20,
        "seconds_left": 40,
        "figures": {"loss": 0.5, "tokens/s": 100},
    }
    assert not seen.left_is_all  # nobody knows what the second fine-tuning takes
    recorder.emit(event("job_error", jobid=2))
    recorder.close()
    assert headline(snapshot(*read_runs())).startswith("mine: failed, 1 of 4 jobs done, 1 failed, in 0:0")


def test_a_rule_that_is_like_another_has_its_logs_there() -> None:
    recorder = Recorder("mine")
    begun(recorder, finetune_trial=1)
    what = "mine/spam/learning-curve/share-0.5/seed-1"
    log = f"logs/finetune/{what}.log"
    started = event("job_info", jobid=1, rule_name="finetune_trial", log=[log], output=[], benchmark=None, threads=1)
    recorder.emit(started)
    (run,) = read_runs()
    assert [one.title for one in run.jobs] == [f"finetune_trial {what}"]


def test_a_job_is_tried_again() -> None:
    recorder = Recorder("mine")
    begun(recorder, finetune=1)
    job(recorder, 1, "finetune", "mine/spam")
    recorder.emit(event("job_error", jobid=1))
    job(recorder, 1, "finetune", "mine/spam")
    (run,) = read_runs()
    assert [one.state for one in run.jobs] == ["running"]


def test_where_snakemake_is_quiet_a_jobs_result_says_that_it_is_done() -> None:
    recorder, result = Recorder("mine"), Path("seconds.jsonl")
    result.write_text("of an earlier run")
    os.utime(result, (1, 1))
    begun(recorder, predict=1)
    job(recorder, 1, "predict", "mine/spam", str(result))
    assert read_runs()[0].count("done") == 0
    result.write_text("new")
    assert read_runs()[0].count("done") == 1


def test_a_log_of_an_earlier_run_says_nothing() -> None:
    recorder = Recorder("mine")
    begun(recorder, finetune=1)
    log = job(recorder, 1, "finetune", "mine/spam")
    log.write_text(str(Step("spam", "step", 5, 20, "", 40)))
    os.utime(log, (1, 1))
    assert step_of(read_runs()[0].jobs[0]) is None


def test_how_runs_end() -> None:
    now = time.time()
    for name, ends, finished, state in (
        ("a", True, True, "done"),
        ("b", True, False, "stopped"),
        ("c", False, True, "running"),
    ):
        recorder = Recorder(name)
        begun(recorder, prepare=1)
        job(recorder, 1, "prepare", "mails")
        if finished:
            recorder.emit(event("job_finished", job_id=1))
        if ends:
            recorder.close()
        (run,) = [run for run in read_runs() if run.name == name]
        assert state_of(run, now) == state


@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_what_kill_9_leaves_is_not_taken_for_a_run(host: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    recorder = Recorder("mine")
    begun(recorder, prepare=1)
    path = Path(".gptsmith/progress/mine.jsonl")
    head = json.loads(path.read_text()) | {"pid": process.pid, "host": platform.node() if host == "here" else host}
    path.write_text(json.dumps(head) + "\n" + '{"event": "jo')
    (run,) = read_runs()
    now = time.time()
    if host == "here":
        assert state_of(run, now) == "broken off"
        said = gptsmith().stdout.splitlines()
        assert said[0] == "nothing is running in this folder"
        assert said[1].startswith("last run: mine: broken off, 0 of 1 jobs done, last sign of life ")
    else:
        assert state_of(run, now) == "running"
        assert state_of(run, now + SILENT_AFTER + 60) == "silent"


def test_the_number_of_a_process_that_came_later_is_not_the_runs() -> None:
    recorder = Recorder("mine")
    begun(recorder, prepare=1)
    path = Path(".gptsmith/progress/mine.jsonl")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"time": 10.0}) + "\n")
    assert state_of(*read_runs(), time.time()) == "broken off"


def test_time_left_is_shared_by_the_cores() -> None:
    recorder = Recorder("mine")
    begun(recorder, finetune=3, evaluate=2)
    job(recorder, 1, "finetune", "mine/spam/seed-1").write_text(str(Step("spam", "step", 1, 2, "", 100)))
    (run,) = read_runs()
    steps = {one.title: step for one in run.jobs if (step := step_of(one)) is not None}
    known = {"finetune": 150.0, "evaluate": 10.0}
    left, is_all = seconds_left(run, steps, known, time.time())
    assert is_all
    assert left == pytest.approx((100 + 2 * 150 + 2 * 10) / 2, abs=3)
    assert seconds_left(run, steps, {"evaluate": 10.0}, time.time())[1] is False


def test_what_jobs_take_is_known_from_this_run_an_estimate_or_the_one_before() -> None:
    recorder = Recorder("mine")
    begun(recorder, finetune=2, evaluate=1, predict=1)
    for rule, seconds in (("predict", 7.0), ("evaluate", 8.0)):
        record = Path("logs/benchmarks", rule, "mine/spam.jsonl")
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps({"s": seconds}) + "\n")
    estimate = Path("results/mine/estimate.json")
    estimate.parent.mkdir(parents=True)
    estimate.write_text(
        json.dumps(
            {
                "stages": [
                    {"rule": "evaluate", "seconds": 3},
                    {"rule": "finetune", "seconds": 9},
                    {"rule": "judge", "seconds": None},
                ]
            }
        )
    )
    job(recorder, 1, "finetune", "mine/spam/seed-1")
    recorder.emit(event("job_finished", job_id=1))
    known = seconds_known(*read_runs())
    assert (known["predict"], known["evaluate"]) == (7, 3)
    assert known["finetune"] < 5
    estimate.write_text("[]")
    assert seconds_known(*read_runs())["evaluate"] == 8


def test_nothing_that_goes_wrong_here_reaches_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".gptsmith").write_text("a file, where a folder should be")
    recorder = Recorder("mine")
    begun(recorder, prepare=1)
    job(recorder, 1, "prepare", "mails")
    recorder.emit(event("job_info"))
    recorder.close()
    assert capsys.readouterr() == ("", "")
    assert read_runs() == []


def test_what_is_no_record_is_passed_over() -> None:
    folder = Path(".gptsmith/progress")
    folder.mkdir(parents=True)
    for name, text in (("a", ""), ("b", "[]\n"), ("c", "{}\n"), ("d", "not JSON\n"), ("e", "\ufeff\x00\n")):
        (folder / f"{name}.jsonl").write_text(text)
    assert read_runs() == []


def test_the_command_in_a_folder_where_nothing_ever_ran() -> None:
    assert gptsmith().stdout == "nothing is running in this folder\n"
    assert json.loads(gptsmith("--json").stdout) == {"runs": []}
    Path("other.yaml").write_text("name: other\n")
    assert gptsmith("other.yaml").stdout == "other is not running\n"
    Path("no.yaml").write_text("a: 1\n")
    refused = gptsmith("no.yaml")
    assert (refused.returncode, refused.stderr) == (1, "error: no.yaml: no `name:`, so not a config of gptsmith\n")


def test_the_command_once(folder: Path) -> None:
    recorder = Recorder("mine")
    begun(recorder, prepare=1, finetune=1)
    recorder.emit(event("job_info", jobid=1, rule_name="prepare", log=[], output=[], benchmark=None, threads=1))
    recorder.emit(event("job_finished", job_id=1))
    job(recorder, 2, "finetune", "mine/spam/seed-1").write_text(f"{Step('x', 'step', 5, 2000, 'loss 0.500', 40)}\n")
    shown = gptsmith("--once")
    assert shown.returncode == 0, shown.stderr
    first, *rest = shown.stdout.splitlines()
    assert first.startswith("mine: 1 of 2 jobs done, 0:0")
    assert rest == ["  done:    prepare", "  running: finetune spam/seed-1: step 5/2,000, loss 0.500, 0:40 left"]


def watching(**streams: Any) -> subprocess.Popen[str]:
    code = f"import sys; sys.argv = ['gptsmith', 'progress']; from {app.__name__} import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return subprocess.Popen(
        [sys.executable, "-c", code], text=True, env=environment | {"TERM": "xterm", "COLUMNS": "100"}, **streams
    )


def test_without_a_terminal_each_change_is_a_line() -> None:
    recorder = Recorder("mine")
    begun(recorder, prepare=1, finetune=1)
    job(recorder, 1, "prepare", "mails")
    process = watching(stdout=subprocess.PIPE)
    assert process.stdout is not None
    shown = [process.stdout.readline() for _ in range(3)]
    assert shown[0].startswith("mine: 0 of 2 jobs done")
    assert shown[1].startswith("  running: prepare mails: for 0:0")
    assert shown[2] == "  waiting: finetune\n"
    recorder.emit(event("job_finished", job_id=1))
    assert process.stdout.readline() == "prepare mails: done (1 of 2 jobs done)\n"
    recorder.close()
    rest, _ = process.communicate(timeout=20)
    assert rest.startswith("mine: stopped, 1 of 2 jobs done, in 0:0")
    assert process.returncode == 0


def test_the_end_of_one_run_is_told_while_another_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", 0)
    first, second = Recorder("first"), Recorder("second")
    begun(first, prepare=1)
    begun(second, prepare=1)
    states = ([(one.run.name, one.state) for one in seen] for seen in progress._looks(None))
    assert next(states) == [("first", "running"), ("second", "running")]
    first.close()
    assert next(states) == [("second", "running"), ("first", "stopped")]
    assert next(states) == [("second", "running")]
    second.close()
    assert list(states) == [[("second", "stopped")]]


def test_on_a_terminal_it_is_drawn_anew_and_ctrl_c_ends_it_quietly() -> None:
    recorder = Recorder("mine")
    begun(recorder, finetune=1)
    job(recorder, 1, "finetune", "mine/spam/seed-1").write_text(f"{Step('x', 'step', 5, 20, 'loss 0.500', 40)}\n")
    ours, theirs = pty.openpty()
    process = watching(stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    while shown.count(b"step 5/20, loss 0.500, 0:40 left") < 2:
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    shown += os.read(ours, 65536)
    os.close(ours)
    assert b"\x1b[2K" in shown  # lines are taken back
    assert shown.endswith(b"\x1b[?25h")  # and the cursor is there again
    assert b"Traceback" not in shown
