"""A language model grades responses, as in the last step of S. Raschka's "Build a Large Language Model (From Scratch)"
(2024, section 7.8): it is asked, for each one, for a whole number from 0 to 100.

Answers are kept on disk as they come, by what was asked: a run that broke off goes on, and a second one asks nothing.
"""

import hashlib
import json
import re
import sys
import threading
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from gptsmith.config.judge import Judge
from gptsmith.errors import UserError
from gptsmith.evaluation.answers import Judgement, response_rows
from gptsmith.files import write_text
from gptsmith.provenance import Stopwatch, checksums, write_provenance
from gptsmith.sources.chat import Answer, Endpoint, ask, new_session
from gptsmith.sources.http import Patience

# Models that think aloud put that before the answer.
_THOUGHTS = re.compile(r"\A\s*<think>.*</think>", re.DOTALL)
_SCORE = re.compile(r"\s*(?:score|grade)?\s*:?\s*(\d{1,3})(?:\s*/\s*100)?\s*\.?\s*", re.ASCII | re.IGNORECASE)

Question = dict[str, Any]
"""The body of a request."""


def judge_responses(
    responses: Path, settings: Judge, key: str | None, cache: Path, patience: Patience, parallel: int, output: Path
) -> None:
    """Write judgements.jsonl, a line for each line of `responses`, and beside it judge.json: where they come from.

    Asks the judge `parallel` questions at a time, and only what `cache` has no answer to. Raises UserError where the
    judge cannot be asked; what it answered before is then in the cache.
    """
    stopwatch = Stopwatch()
    items = response_rows(responses)
    questions = [_question(item, settings) for _, item in items.iterrows()]
    files = [_cache_file(cache, settings.url, question) for question in questions]
    open_questions = {file: question for file, question in zip(files, questions, strict=True) if not _cached(file)}
    print(f"{len(items):,} responses, {len(open_questions):,} of them to be judged at {settings.url}", file=sys.stderr)
    _ask_all(open_questions, Endpoint(settings.url, key), patience, parallel)
    answers = [Answer.model_validate_json(file.read_bytes()) for file in files]
    judgements = [
        Judgement(id=number, score=score_in(answer.text), answer=answer.text)
        for number, answer in zip(items["id"], answers, strict=True)
    ]
    unparsable = sum(judgement.score is None for judgement in judgements)
    if unparsable:
        print(f"{unparsable:,} answers are not a number from 0 to 100 and give no score", file=sys.stderr)
    write_text(output, "".join(f"{judgement.model_dump_json()}\n" for judgement in judgements))
    write_provenance(
        output.with_name("judge.json"),
        stopwatch,
        settings=settings.model_dump(mode="json"),
        inputs=checksums([responses]),
        models=sorted({answer.model for answer in answers} - {""}),
        items=len(items),
        unparsable=unparsable,
        asked=len(open_questions),
    )


def score_in(answer: str) -> int | None:
    """The whole number from 0 to 100 that an answer consists of; None where it says anything else besides.

    `Score: 85`, `85/100` and `85.` say nothing else, and thoughts before it (`<think>...</think>`) do not count.
    """
    match = _SCORE.fullmatch(_THOUGHTS.sub("", answer).replace("*", ""))
    return int(match[1]) if match is not None and int(match[1]) <= 100 else None


def _question(item: "pd.Series[Any]", settings: Judge) -> Question:
    instruction = f"{item['instruction']}\n\n{item['input']}" if item["input"] else item["instruction"]
    content = settings.prompt.format(instruction=instruction, reference=item["reference"], response=item["response"])
    question = {
        "model": settings.model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "seed": settings.seed,
        **settings.parameters,
    }
    return {name: value for name, value in question.items() if value is not None}


def _ask_all(questions: dict[Path, Question], endpoint: Endpoint, patience: Patience, parallel: int) -> None:
    """Put the answer to each question into its file, as soon as it comes."""
    done, given_up = 0, threading.Event()
    # The pool's threads do not outlive the process: a Ctrl-C need not wait for the last answers.
    with new_session(endpoint, parallel) as session, ThreadPool(parallel) as pool:

        def answered(entry: tuple[Path, Question]) -> tuple[Path, Answer] | None:
            if given_up.is_set():  # what failed is on its way to the loop below
                return None
            try:
                return entry[0], ask(session, endpoint, entry[1], patience)
            except UserError:
                given_up.set()
                raise

        try:
            for kept in pool.imap_unordered(answered, questions.items()):
                if kept is None:
                    continue
                file, answer = kept
                if not _cached(file):  # the job of another seed may have had the same question
                    write_text(file, answer.model_dump_json())
                done += 1
                if done % max(1, len(questions) // 10) == 0:
                    print(f"{done:,} of {len(questions):,} answers", file=sys.stderr)
        except UserError as error:
            raise UserError(f"{error}\nRun again to go on: {done:,} of {len(questions):,} answers are kept.") from error


def _cache_file(cache: Path, url: str, question: Question) -> Path:
    """Another endpoint's model of the same name may be another model."""
    asked = json.dumps([url, question], sort_keys=True).encode()
    digest = hashlib.sha256(asked).hexdigest()
    return cache / digest[:2] / f"{digest[2:]}.json"


def _cached(file: Path) -> Answer | None:
    """None for what was never asked, and for a damaged file."""
    try:
        return Answer.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
