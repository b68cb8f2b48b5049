"""Asking a chat model over HTTP by OpenAI's API, as far as nearly all servers speak it: a question, an answer."""

import json
import os
import time
from dataclasses import dataclass, field
from http.client import responses
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from pydantic import BaseModel, Field, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from gptsmith.errors import UserError
from gptsmith.sources.http import CHUNK_BYTES, PASSING_TROUBLES, PROXY_REMEDY, Patience, plain_reason

KEY_VARIABLE = "GPTSMITH_JUDGE_KEY"
MOST_BYTES = 1 << 20
LONGEST_COMPLAINT = 300
SHORTEST_SECRET = 8
"""Characters. Shorter keys are placeholders, such as `none`, which answers may contain as well."""


@dataclass(frozen=True)
class Endpoint:
    """`url` is the address without `/chat/completions`."""

    url: str
    key: str | None = field(repr=False)

    def without_key(self, text: str) -> str:
        """What a server says, which may be our own key."""
        secret = self.key is not None and len(self.key) >= SHORTEST_SECRET
        return text.replace(str(self.key), "[key]") if secret else text


def key_in_environment() -> str | None:
    """The key for an endpoint, or None. Raises UserError, which does not show it, where it cannot be one."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"{KEY_VARIABLE}: not a key: it holds blanks or characters that are not ASCII")
    return key or None


class Answer(BaseModel):
    """The model's words, why it stopped, and what the server calls it."""

    text: str
    finish_reason: str | None
    model: str


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str = ""


class _PassingError(Exception):
    """May be over at the next try, before which the server asks to wait some seconds."""

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.wait = wait


def new_session(endpoint: Endpoint, parallel: int) -> requests.Session:
    """A session for `parallel` threads. The environment's proxies hold."""

    # As a function it also keeps requests from looking for a password in ~/.netrc.
    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if endpoint.key is not None:
            request.headers["Authorization"] = f"Bearer {endpoint.key}"
        return request

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=parallel))
    session.auth = authorize
    session.headers["Accept-Encoding"] = "identity"  # the size of an answer is what was sent
    return session


def ask(session: requests.Session, endpoint: Endpoint, question: dict[str, Any], patience: Patience) -> Answer:
    """Send the request body `question` and return the answer.

    Too many requests, a server in trouble, a connection that fails or breaks off, and an answer that is none are
    tried again (`patience.read` bounds an answer as a whole). Raises UserError where that does not help, and at once
    where it would not. No message holds the key.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return _ask_once(session, endpoint, question, patience)
        except _PassingError as error:
            if attempt >= patience.attempts:
                raise UserError(f"{endpoint.url}: {error}, {attempt} times") from error
            time.sleep(min(max(error.wait, patience.backoff * 2 ** (attempt - 1)), patience.longest_wait))


def _ask_once(session: requests.Session, endpoint: Endpoint, question: dict[str, Any], patience: Patience) -> Answer:
    began = time.monotonic()
    try:
        # A redirect would take the key to who knows whom.
        with session.post(
            f"{endpoint.url}/chat/completions",
            json=question,
            stream=True,
            allow_redirects=False,
            timeout=(patience.connect, patience.read),
        ) as response:
            body = _body(response, endpoint, began + patience.read)
    except requests.exceptions.SSLError as error:
        raise UserError(f"{endpoint.url}: {plain_reason(error)}") from error
    except (requests.RequestException, HTTPError) as error:
        raise _PassingError(plain_reason(error)) from error
    if response.status_code != 200:
        raise _refusal(response, endpoint, body, patience)
    try:
        completion = _Completion.model_validate_json(body)
    except ValidationError as error:
        raise _PassingError("what came is no answer of a chat model; is the address right?") from error
    choice = completion.choices[0]
    return Answer(
        text=endpoint.without_key(choice.message.content or ""),
        finish_reason=None if choice.finish_reason is None else endpoint.without_key(choice.finish_reason),
        model=endpoint.without_key(completion.model),
    )


def _body(response: requests.Response, endpoint: Endpoint, deadline: float) -> bytes:
    body = b""
    # read1 returns what is there, so that one who sends a byte a minute is noticed.
    while chunk := response.raw.read1(CHUNK_BYTES):
        body += chunk
        if len(body) > MOST_BYTES:
            raise UserError(f"{endpoint.url}: an answer is larger than {MOST_BYTES >> 20} MB, which is refused")
        if time.monotonic() > deadline:
            raise _PassingError("the answer comes too slowly")
    return body


def _refusal(response: requests.Response, endpoint: Endpoint, body: bytes, patience: Patience) -> Exception:
    """What to raise for a status that is not 200."""
    code = response.status_code
    status = f"HTTP status {code} {responses.get(code, '')}".rstrip()
    if code in PASSING_TROUBLES:
        return _PassingError(status, _asked_wait(response, patience))
    if response.is_redirect:
        further = urlsplit(urljoin(response.url, response.headers["Location"])).netloc.rpartition("@")[2]
        return UserError(
            f"{endpoint.url}: redirects to {_plain(further)}, which is not followed; name the last address"
        )
    if code in (401, 403):
        # Not in the server's words: some repeat a part of the key.
        return UserError(f"{endpoint.url}: {status}: it wants a key, or another one, in {KEY_VARIABLE}")
    if code == 407:
        return UserError(f"{endpoint.url}: {status}: {PROXY_REMEDY}")
    return UserError(f"{endpoint.url}: {status}: {_plain(endpoint.without_key(_complaint(body)))}")


def _asked_wait(response: requests.Response, patience: Patience) -> float:
    try:
        return Retry(retry_after_max=patience.longest_wait).get_retry_after(response.raw) or 0
    except HTTPError:  # neither seconds nor a date
        return 0


def _complaint(body: bytes) -> str:
    """The message of an error in one of the shapes that servers give it, or else the body as it is."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return body.decode(errors="replace")


def _plain(text: str) -> str:
    """On one line, of bounded length."""
    shown = text[:LONGEST_COMPLAINT]
    return " ".join("".join(character if character.isprintable() else " " for character in shown).split())
