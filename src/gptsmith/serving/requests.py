"""What may be asked of the server. Anything that would change an answer and is not here is refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

REFUSE_OTHERS = ConfigDict(extra="forbid", allow_inf_nan=False)


class ChatMessage(BaseModel):
    model_config = REFUSE_OTHERS

    role: Literal["user", "assistant"]
    content: str


class StreamOptions(BaseModel):
    model_config = REFUSE_OTHERS

    include_usage: bool = False


class ChatRequest(BaseModel):
    """Body of /v1/chat/completions: OpenAI's, as far as the model can do what it says, and top_k."""

    model_config = REFUSE_OTHERS

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=1)] = None
    seed: Annotated[int, Field(ge=0)] = 0
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    """Read and forgotten."""
    n: Literal[1] | None = None
    stop: None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None


class ClassifyRequest(BaseModel):
    model_config = REFUSE_OTHERS

    texts: Annotated[list[str], Field(min_length=1, max_length=256)]
