"""`gptsmith serve` over the loopback interface: with OpenAI's client, with many clients, with bad ones."""

import asyncio
import builtins
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
import requests
import torch
from playwright.sync_api import expect

from gptsmith.cli import app, serve
from gptsmith.config.generation import Generation
from gptsmith.generation.conversation import Assistant, Turn, answer, conversation_ids, load_assistant
from gptsmith.generation.texts import classify_texts, load_text_classifier
from gptsmith.serving.bounds import BoundedBodies, BoundedQueue
from gptsmith.training.compute import Compute

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CPU = Compute(torch.device("cpu"), "fp32")
CODE = f"import sys; sys.argv = ['gptsmith', 'serve', *sys.argv[1:]]; from {app.__name__} import main; main()"


@contextmanager
def serving(checkpoint: Path, *options: str) -> Iterator[str]:
    """The address of a server."""
    command = [sys.executable, "-c", CODE, str(checkpoint), "--port", "0", "--threads", "1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        try:
            line = process.stdout.readline()
            address = re.search(r"http://\S+", line)
            assert address, line + process.stderr.read()
            for _ in range(600):
                try:
                    assert requests.get(f"{address[0]}/health", timeout=30).ok
                    break
                except requests.ConnectionError:
                    time.sleep(0.05)
            yield address[0]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) in (0, 130, -signal.SIGINT)
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def chatting(tiny_assistant: Path) -> Iterator[str]:
    with serving(tiny_assistant, "--name", "tiny", "--max-new-tokens", "30", "--max-body", "5000") as address:
        yield address


@pytest.fixture(scope="module")
def classifying(tiny_classifier: Path) -> Iterator[str]:
    with serving(tiny_classifier, "--max-text", "500") as address:
        yield address


@pytest.fixture(scope="module")
def assistant(tiny_assistant: Path) -> Assistant:
    return load_assistant(tiny_assistant, None, CPU)


@pytest.fixture
def client(chatting: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{chatting}/v1", api_key="unused", max_retries=0, timeout=60)


def expected_answer(assistant: Assistant, turns: list[Turn], message: str, **settings: Any) -> str:
    ids, _ = conversation_ids(assistant, turns, message, settings["max_new_tokens"])
    return "".join(piece.text for piece in answer(assistant, ids, Generation(**settings)))


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def test_openais_client_gets_what_chat_gives(client: Any, assistant: Assistant) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    messages = [user("zq"), {"role": "assistant", "content": "yes"}, user("q")]
    got = client.chat.completions.create(model="tiny", messages=messages, max_tokens=7)
    expected = expected_answer(assistant, [Turn("zq", "yes")], "q", max_new_tokens=7)
    assert got.choices[0].message.content == expected
    assert got.choices[0].finish_reason == "length"
    assert got.usage.completion_tokens == 7
    sampled = {"temperature": 1.5, "top_p": 0.9, "seed": 5}
    got = client.chat.completions.create(model="tiny", messages=[user("q")], max_completion_tokens=9, **sampled)
    assert got.choices[0].message.content == expected_answer(assistant, [], "q", max_new_tokens=9, **sampled)


def test_openais_client_gets_the_same_as_a_stream(client: Any, assistant: Assistant) -> None:
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=[user("q")], max_tokens=8, stream=True, stream_options=options
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == expected_answer(assistant, [], "q", max_new_tokens=8)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 8
    assert len(chunks) > 5


def test_many_clients_at_once_are_all_answered_as_if_alone(client: Any, assistant: Assistant) -> None:
    settings = [{"temperature": 1.0, "seed": seed} for seed in range(32)]

    def ask(number: int) -> str:
        asked = {"model": "tiny", "messages": [user("q")], "max_tokens": 12, **settings[number]}
        if number % 2:
            return client.chat.completions.create(**asked).choices[0].message.content
        chunks = client.chat.completions.create(**asked, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(len(settings)) as clients:
        answers = list(clients.map(ask, range(len(settings))))
    assert answers == [expected_answer(assistant, [], "q", max_new_tokens=12, **each) for each in settings]


def test_clients_that_leave_take_no_place_with_them(tiny_assistant: Path) -> None:
    body = {"model": "an assistant", "messages": [user("q")], "stream": True}
    with serving(tiny_assistant, "--parallel", "1", "--queue", "1") as address:
        for _ in range(5):
            with requests.post(f"{address}/v1/chat/completions", json=body, stream=True, timeout=30) as response:
                while response.status_code == 503:  # the one before has not been missed yet
                    assert int(response.headers["Retry-After"]) > 0
                    time.sleep(0.05)
                    response = requests.post(f"{address}/v1/chat/completions", json=body, stream=True, timeout=30)
                assert response.status_code == 200
                next(response.iter_lines())
        body |= {"stream": False, "max_tokens": 2}
        for _ in range(100):
            if (status := requests.post(f"{address}/v1/chat/completions", json=body, timeout=30).status_code) != 503:
                break
            time.sleep(0.05)
        assert status == 200


def test_a_full_queue_says_when_to_come_back() -> None:
    async def scenario() -> list[int]:
        begun, go_on = 0, asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal begun
            begun += 1
            await go_on.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        queue = BoundedQueue(app, running=2, waiting=3)
        statuses, headers = list[int](), dict[bytes, bytes]()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                headers.update(message["headers"])

        def request() -> Any:
            return asyncio.create_task(queue({"type": "http", "method": "POST"}, None, send))  # type: ignore[arg-type]

        tasks = [request() for _ in range(7)]
        await asyncio.sleep(0.01)
        assert (begun, statuses) == (2, [503, 503])
        assert int(headers[b"retry-after"]) > 0
        tasks[0].cancel()  # a client that leaves makes room
        await asyncio.sleep(0.01)
        assert begun == 3
        tasks.append(request())
        go_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return statuses

    assert sorted(asyncio.run(scenario())) == [200] * 5 + [503] * 2


def test_a_slow_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptsmith.serving.bounds.BODY_SECONDS", 0.01)
    statuses = []

    async def receive() -> Any:
        await asyncio.sleep(30)

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    asyncio.run(BoundedBodies(app, 100)({"type": "http"}, receive, send))
    assert statuses[0] == 408


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"model": "gpt-4"}, 404, "no model 'gpt-4', only 'tiny'"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [user("a"), user("b")]}, 400, "take turns"),
        ({"messages": [{"role": "system", "content": "be brief"}, user("a")]}, 400, "role"),
        ({"messages": [user("zq" * 60)]}, 400, "the message is too long"),
        ({"messages": [user("\ud800")]}, 400, "surrogate"),
        ({"max_tokens": 31}, 400, "at most 30"),
        ({"temperature": -1}, 400, "temperature"),
        ({"n": 2}, 400, "body.n"),
        ({"logit_bias": {}}, 400, "logit_bias"),
        ({"\ud800": 1}, 400, "unicode"),
        ({"user": "x" * 5000}, 413, "longer than 5,000 bytes"),
    ],
)
def test_what_cannot_be_done_is_refused(change: dict[str, Any], status: int, said: str, chatting: str) -> None:
    body = {"model": "tiny", "messages": [user("a")], "max_tokens": 2}
    response = requests.post(f"{chatting}/v1/chat/completions", json=body | change, timeout=30)
    assert (response.status_code, said in response.json()["error"]["message"]) == (status, True), response.text


def test_bad_requests_are_answered_in_the_same_form(chatting: str, classifying: str) -> None:
    url = f"{chatting}/v1/chat/completions"
    typed = {"Content-Type": "application/json"}
    for response, status in (
        (requests.post(url, data="{", headers=typed, timeout=30), 400),
        (requests.post(url, data="[" * 4000, headers=typed, timeout=30), 400),
        # What a form on another site could send.
        (requests.post(url, data="{}", headers={"Content-Type": "text/plain"}, timeout=30), 400),
        (requests.get(f"{chatting}/nothing", timeout=30), 404),
        (requests.get(url, timeout=30), 405),
        (requests.post(f"{chatting}/classify", json={"texts": ["a"]}, timeout=30), 404),
        (requests.post(f"{classifying}/classify", json={"texts": []}, timeout=30), 400),
        (requests.post(f"{classifying}/classify", json={"texts": ["a"] * 257}, timeout=30), 400),
        (requests.post(f"{classifying}/classify", json={"texts": ["a" * 501]}, timeout=30), 400),
        (requests.post(f"{classifying}/classify", json={"texts": ["\ud800"]}, timeout=30), 400),
    ):
        assert response.status_code == status, response.text
        assert response.json()["error"]["message"]
    # A page whose own name was made to point here.
    assert requests.get(f"{chatting}/health", headers={"Host": "evil.example"}, timeout=30).status_code == 400


def test_texts_are_classified(classifying: str, tiny_classifier: Path) -> None:
    texts = ["win a prize", "", "zq" * 30]
    ours = load_text_classifier(tiny_classifier, CPU)
    expected = classify_texts(ours, texts).probabilities
    got = requests.post(f"{classifying}/classify", json={"texts": texts}, timeout=30).json()
    assert [result["truncated"] for result in got["results"]] == [False, False, True]
    for result, row in zip(got["results"], expected, strict=True):
        assert result["probabilities"] == pytest.approx(dict(zip(ours.labels, row, strict=True)), rel=1e-4)
        assert result["label"] == max(result["probabilities"], key=result["probabilities"].get)
    assert requests.get(f"{classifying}/health", timeout=30).json() == {
        "status": "ok",
        "model": "a classifier",
        "task": "classify",
    }


def test_the_page_runs_nothing_but_its_own_script(chatting: str) -> None:
    for path in ("/", "/page.js", "/page.css"):
        response = requests.get(chatting + path, timeout=30)
        assert response.ok
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        assert not re.search(r"https?://|innerHTML|document\.write|eval\(", response.text)


HOSTILE = "<img src=x onerror='document.title=1'><script>document.title=1</script>"


def ask(page: "Page", text: str) -> None:
    page.fill("#text", text)
    page.click("#send")
    page.wait_for_selector("#send:enabled")


def test_the_page_in_a_browser_answers(
    chromium: "Browser",
    accessibility_violations: "Callable[[Page], dict[str, list[str]]]",
    chatting: str,
    assistant: Assistant,
) -> None:
    with chromium.new_context(viewport={"width": 400, "height": 800}) as context:
        page, complaints = context.new_page(), []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(chatting)
        expect(page).to_have_title("tiny - gptsmith")
        assert accessibility_violations(page) == {}
        ask(page, "q")
        assert page.text_content(".answer") == expected_answer(assistant, [], "q", max_new_tokens=30)
        ask(page, HOSTILE)
        assert page.locator(".asked").nth(1).text_content() == HOSTILE
        assert "the message is too long" in page.text_content(".error")
        assert page.title() == "tiny - gptsmith"
        assert page.locator("img").count() == 0
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
        assert accessibility_violations(page) == {}
    # The refusal is the one thing that the browser may mention.
    assert complaints
    assert all("400 (Bad Request)" in complaint for complaint in complaints), complaints


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_in_a_browser_classifies(
    open_page: "Callable[..., Page]",
    accessibility_violations: "Callable[[Page], dict[str, list[str]]]",
    classifying: str,
    theme: str,
) -> None:
    page = open_page(classifying, color_scheme=theme)
    expect(page).to_have_title("a classifier - gptsmith")
    ask(page, HOSTILE)
    rows = [row.split("\t") for row in page.locator("tr").all_inner_texts()]
    assert {row[0] for row in rows} == {"ham", "spam", "été"}
    probabilities = [float(row[-1]) for row in rows]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=0.01)
    assert "its end was left out" in page.text_content(".answer")
    assert accessibility_violations(page) == {}


@pytest.mark.skipif(not Path("/proc/net/if_inet6").is_file(), reason="this machine has no IPv6")
def test_also_by_ipv6_a_foreign_name_is_refused(tiny_classifier: Path) -> None:
    with serving(tiny_classifier, "--host", "::1") as address:
        assert address.startswith("http://[::1]:")
        assert requests.get(f"{address}/health", headers={"Host": "evil.example"}, timeout=30).status_code == 400


def test_a_missing_extra_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_classifier: Path
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "uvicorn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(sys, "argv", ["gptsmith", "serve", str(tiny_classifier)])
    with pytest.raises(SystemExit):
        app.main()
    expected = "error: serving needs uvicorn, which is not installed:\npip install -r requirements-serve.txt\n"
    assert capsys.readouterr().err == expected


def test_a_port_that_is_taken_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_classifier: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setattr(sys, "argv", ["gptsmith", "serve", str(tiny_classifier), "--port", port])
        with pytest.raises(SystemExit):
            app.main()
    assert f"error: cannot listen on 127.0.0.1, port {port} (" in capsys.readouterr().err


def test_the_models_name_says_which_run() -> None:
    assert serve._name_of(Path("/a/checkpoints/finetuned/mine/spam/seed-1")) == "mine/spam/seed-1"
    assert serve._name_of(Path("/a/exported")) == "exported"
