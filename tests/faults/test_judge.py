"""A judge over HTTP: what it is asked, how it fails, what is kept, and where its key is not."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gptsmith.config.judge import Judge
from gptsmith.errors import UserError
from gptsmith.evaluation.judge import judge_responses, score_in
from gptsmith.sources import chat
from gptsmith.sources.chat import MOST_BYTES, key_in_environment
from gptsmith.sources.http import Patience
from tests.judge_server import Answer, JudgeServer, drips, hangs_up, judge_server, says, sends

KEY = "sk-the-key-that-nobody-may-see"
HASTY = Patience(attempts=3, backoff=0, longest_wait=0, connect=5, read=5)
SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "judge.py"


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as server:
        yield server


def write_responses(folder: Path, rows: int = 6) -> Path:
    path = folder / "responses.jsonl"
    lines = [
        {
            "id": number,
            "instruction": f"Name the number after {number}.",
            "input": "in words" if number % 2 else "",
            "category": "",
            "reference": f"reference-{number}",
            "response": f"response-{number} {{reference}}",
            "finish_reason": "stop",
            "negative_log_likelihood": 2.0,
            "target_tokens": 1,
        }
        for number in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def judge(server: JudgeServer, folder: Path, **options: Any) -> list[dict[str, Any]]:
    """Let the server judge the responses in `folder`; `options`: of the judge, and rows, key, patience, parallel."""
    rows = write_responses(folder, options.pop("rows", 6))
    key, patience = options.pop("key", None), options.pop("patience", HASTY)
    parallel = options.pop("parallel", 1)
    settings = Judge(**{"url": server.url, "model": "llama3"} | options)
    output = folder / "judgements.jsonl"
    judge_responses(rows, settings, key, folder / "cache", patience, parallel, output)
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_each_response_is_judged(server: JudgeServer, tmp_path: Path) -> None:
    judgements = judge(server, tmp_path, key=KEY)
    assert judgements == [{"id": number, "score": 80, "answer": "80"} for number in range(6)]
    assert {request.path for request in server.requests} == {"/v1/chat/completions"}
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    last = server.requests[-1]
    assert {key: value for key, value in last.body.items() if key != "messages"} == {
        "model": "llama3",
        "temperature": 0,
        "seed": 123,
    }
    assert "\nName the number after 5.\n\nin words\n" in last.prompt
    assert "\nreference-5\n" in last.prompt
    assert "\nresponse-5 {reference}\n" in last.prompt  # braces of a response are its own

    record = json.loads((tmp_path / "judge.json").read_text())
    assert record["settings"]["url"] == server.url
    assert {"model", "prompt", "seed", "parameters"} <= record["settings"].keys()
    assert (record["models"], record["items"], record["unparsable"], record["asked"]) == (["llama3:8b"], 6, 0, 6)
    assert list(record["inputs"]) == [str(tmp_path / "responses.jsonl")]


def test_more_fields_of_the_request(server: JudgeServer, tmp_path: Path) -> None:
    judge(server, tmp_path, rows=1, parameters={"temperature": None, "max_tokens": 5})
    assert server.requests[0].body.keys() == {"model", "messages", "seed", "max_tokens"}


def test_without_a_key_nothing_is_sent_in_its_place(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    judge(server, tmp_path, rows=1)
    assert "Authorization" not in server.requests[0].headers


def test_requests_are_sent_side_by_side(server: JudgeServer, tmp_path: Path) -> None:
    """The server answers only when three requests are there."""
    together = threading.Barrier(3, timeout=20)

    def answer(handler: Any) -> None:
        together.wait()
        says("80")(handler)

    server.always = answer
    judge(server, tmp_path, parallel=3, patience=Patience(attempts=1, read=60))
    assert server.most_at_once == 3


def test_a_second_run_asks_nothing(server: JudgeServer, tmp_path: Path) -> None:
    server.answers = [says("no idea"), says("70")]
    first = judge(server, tmp_path, key=KEY)
    assert len(server.requests) == 6
    assert judge(server, tmp_path, key=None) == first
    assert len(server.requests) == 6
    assert json.loads((tmp_path / "judge.json").read_text())["asked"] == 0


@pytest.mark.parametrize(
    "change", [{"seed": 7}, {"model": "other"}, {"prompt": "{response}?"}, {"parameters": {"a": 1}}]
)
def test_another_question_is_asked_anew(server: JudgeServer, tmp_path: Path, change: dict[str, Any]) -> None:
    judge(server, tmp_path)
    judge(server, tmp_path, **change)
    assert len(server.requests) == 12


def test_a_damaged_answer_is_asked_for_again(server: JudgeServer, tmp_path: Path) -> None:
    judge(server, tmp_path)
    next((tmp_path / "cache").rglob("*.json")).write_text('{"text": "8')
    judge(server, tmp_path)
    assert len(server.requests) == 7


CUT_OFF = sends(200, b'{"choices": [{"message"', Content_Length="4000")
FAULTS: dict[str, Answer] = {
    "too many requests": sends(429, b"", Retry_After="0"),
    "Retry-After that is none": sends(429, b"", Retry_After="soon"),
    "internal error": sends(500, b"oops"),
    "hung up": hangs_up,
    "body cut off": CUT_OFF,
    "a web page": sends(200, b"<html>Please log in</html>"),
    "no choices": sends(200, b'{"choices": []}'),
    "half a character": says("\ud800"),
    "drips": drips,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_that_pass(server: JudgeServer, tmp_path: Path, fault: Answer) -> None:
    server.answers = [says("10"), fault, says("20")]
    patience = Patience(attempts=2, backoff=0, longest_wait=0, connect=5, read=0.5)
    judgements = judge(server, tmp_path, rows=3, patience=patience)
    assert [judgement["score"] for judgement in judgements] == [10, 20, 80]
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        ([sends(503, b"")] * 3, [1, 2, 4]),
        ([sends(429, b"", Retry_After="7")], [7]),
        ([sends(429, b"", Retry_After="86400")], [60]),
    ],
)
def test_waits(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[Answer], waits: list[float]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(chat.time, "sleep", waited.append)
    server.answers = list(answers)
    judge(server, tmp_path, rows=1, patience=Patience(backoff=1))
    assert waited == waits


def test_what_was_judged_before_the_network_went_is_kept(server: JudgeServer, tmp_path: Path) -> None:
    server.answers, server.always = [says("50")] * 4, hangs_up
    with pytest.raises(UserError, match=r"127\.0\.0\.1:\d+/v1: .*, 3 times\nRun again to go on: 4 of 6 answers are"):
        judge(server, tmp_path)
    assert not (tmp_path / "judgements.jsonl").exists()
    server.always = says("90")
    scores = [judgement["score"] for judgement in judge(server, tmp_path)]
    assert scores == [50, 50, 50, 50, 90, 90]
    assert json.loads((tmp_path / "judge.json").read_text())["asked"] == 2


def test_no_server(server: JudgeServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^http://127\.0\.0\.1:1/v1: Connection refused, 3 times"):
        judge(server, tmp_path, url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (sends(401, f"wrong key {KEY[:9]}...".encode()), "401 Unauthorized: it wants a key, or another one, in GPTSM"),
        (sends(404, b'{"error": {"message": "model \\"llama3\\" not found"}}'), '404 Not Found: model "llama3" not'),
        (sends(400, b'{"error": "no\\u001b[2J temperature"}'), r"400 Bad Request: no \[2J temperature"),
        (sends(422, f"you are {KEY}".encode()), r"422 .*: you are \[key\]"),
        (sends(200, b" " * (MOST_BYTES + 1)), "larger than 1 MB"),
    ],
)
def test_what_another_try_does_not_help(server: JudgeServer, tmp_path: Path, answer: Answer, message: str) -> None:
    server.always = answer
    with pytest.raises(UserError, match=message) as raised:
        judge(server, tmp_path, key=KEY)
    assert len(server.requests) == 1
    assert KEY[:9] not in str(raised.value)


def test_a_redirect_is_not_followed(server: JudgeServer, tmp_path: Path) -> None:
    with judge_server() as other:
        server.always = sends(307, b"", Location=f"{other.url}/chat/completions")
        with pytest.raises(UserError, match=rf"redirects to 127\.0\.0\.1:{other.port}, which is not followed"):
            judge(server, tmp_path, key=KEY)
    assert other.requests == []


def test_the_proxy_of_the_environment_is_used(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    judge(server, tmp_path, rows=1, url="http://judge.example/v1")
    assert server.requests[0].path == "http://judge.example/v1/chat/completions"


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("85", 85),
        (" 0\n", 0),
        ("100", 100),
        ("**85**", 85),
        ("Score: 85", 85),
        ("85/100", 85),
        ("85.", 85),
        ("<think>It is 20? No, 90.</think>\n\n85", 85),
        ("", None),
        ("101", None),
        ("-5", None),
        ("8.5", None),
        ("85%", None),
        ("I would say 85", None),
        ("85, as it is nearly right", None),
        ("85 or 90", None),
        ("٨٥", None),
        ("<think>85", None),
    ],
)
def test_score_in(answer: str, score: int | None) -> None:
    assert score_in(answer) == score


def test_answers_without_a_score_are_counted(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [says("I cannot grade that."), says(None, "length"), says("70")]
    judgements = judge(server, tmp_path, rows=4)
    assert [judgement["score"] for judgement in judgements] == [None, None, 70, 80]
    assert judgements[0]["answer"] == "I cannot grade that."
    assert json.loads((tmp_path / "judge.json").read_text())["unparsable"] == 2
    assert "2 answers are not a number from 0 to 100" in capsys.readouterr().err


def test_the_key_is_in_no_file_and_no_message(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the server repeats it."""
    server.answers = [sends(500, KEY.encode()), says(f"your key is {KEY}", model=KEY, finish_reason=KEY)]
    judgements = judge(server, tmp_path, key=KEY, rows=2)
    assert judgements[0]["answer"] == "your key is [key]"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capsys.readouterr())


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "\x00key"])
def test_what_cannot_be_a_key_is_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat.os, "environ", {"GPTSMITH_JUDGE_KEY": key})
    with pytest.raises(UserError, match=r"^GPTSMITH_JUDGE_KEY: not a key") as raised:
        key_in_environment()
    assert key not in str(raised.value)


@pytest.mark.parametrize(("value", "key"), [("", None), (" \n", None), (f"{KEY}\n", KEY)])
def test_key_in_environment(value: str, key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTSMITH_JUDGE_KEY", value)
    monkeypatch.setenv("OPENAI_API_KEY", "of another service")
    assert key_in_environment() == key


def test_ctrl_c_does_not_wait_for_answers(server: JudgeServer, tmp_path: Path) -> None:
    """Two answers came, the next requests hang. After the interruption the two are there, and the rest is asked."""
    released = threading.Event()

    def hang(handler: Any) -> None:
        released.wait(60)

    server.answers, server.always = [says("50")] * 2, hang
    settings = json.dumps({"url": server.url, "model": "llama3"})
    command = [sys.executable, str(SCRIPT), "--settings", settings, "--responses", str(write_responses(tmp_path))]
    command += ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "judgements.jsonl"), "--requests", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(server.requests) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert not released.is_set()
    assert process.returncode == 130, said
    assert said.endswith("error: interrupted\n")
    released.set()
    server.always = says("90")
    assert [judgement["score"] for judgement in judge(server, tmp_path)] == [50, 50, 90, 90, 90, 90]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:11434/v1"}, "not a web address"),
        ({"url": "ftp://localhost/v1"}, "not a web address"),
        ({"url": "http://localhost:port/v1"}, "not a web address"),
        ({"url": "http://me:secret@localhost/v1"}, "a key is read from GPTSMITH_JUDGE_KEY"),
        ({"url": "http://localhost/v1?key=secret"}, "a key is read from GPTSMITH_JUDGE_KEY"),
        ({"url": "http://localhost/v1/chat/completions/"}, "leave out /chat/completions"),
        ({"prompt": "Grade {answer}"}, r"unknown placeholder {answer}; known: {instruction}, {reference}, {response}"),
        ({"prompt": "{response.__class__}"}, "unknown placeholder {response.__class__}"),
        ({"prompt": "{response!r}"}, "unknown placeholder {responser}"),
        ({"prompt": "{response} {"}, "write a brace that is no placeholder twice"),
        ({"prompt": "Grade it."}, "nothing to grade"),
        ({"parameters": {"stream": True}}, "stream cannot be set here"),
        ({"parameters": {"API_Key": "sk-1"}}, "API_Key cannot be set here: a key is read from GPTSMITH_JUDGE_KEY"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Judge.model_validate({"url": "http://localhost/v1", "model": "llama3"} | settings)


def test_a_prompt_with_braces_of_its_own(server: JudgeServer, tmp_path: Path) -> None:
    judge(server, tmp_path, rows=1, prompt='{{"grade": 0}} for {response}')
    assert server.requests[0].prompt == '{"grade": 0} for response-0 {reference}'
