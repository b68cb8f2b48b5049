from gptsmith.data.prompts import format_prompt


def test_alpaca_prompt_with_input() -> None:
    assert format_prompt("Name the opposite.", "hot", "alpaca") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName the opposite.\n\n### Input:\nhot\n\n### Response:\n"
    )


def test_compact_prompt_is_the_parts_on_lines_of_their_own() -> None:
    assert format_prompt("Say hello.", "", "compact") == "Say hello.\n=\n"
    assert format_prompt("Say it.", "hi", "compact") == "Say it.\nhi\n=\n"


def test_braces_in_texts_are_ordinary() -> None:
    assert "{input}" in format_prompt("{input}", "{0}", "compact")
