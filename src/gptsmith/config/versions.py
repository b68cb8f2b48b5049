"""Whether what a run made is recorded beside the code, and where copies of it go."""

import re
from typing import Self

from pydantic import BaseModel, model_validator

from gptsmith.config.strict import STRICT


class Versions(BaseModel):
    """Data, checkpoints and results as versions (DVC) that belong to a git commit: docs/versions.md."""

    model_config = STRICT

    track: bool = True
    """Record what a successful run made, in pointer files for git; only where the project's folder is the top of a
    git repository."""
    remote: str | None = None
    """Where the targets `push` and `restore` keep and find the files: a folder or a URL like `s3://bucket/folder`;
    without it DVC's own default remote. Credentials come from the environment."""
    endpoint: str | None = None
    """URL of the server, for an `s3://` remote that is not Amazon's."""

    @model_validator(mode="after")
    def _remote_is_usable(self) -> Self:
        if self.remote and re.match(r"[^/]*://[^/]*@", self.remote):
            raise ValueError("remote: credentials do not belong in a config; set them in the environment")
        if self.remote and re.match(r"[^/:]{2,}:(?!//)", self.remote):
            raise ValueError(
                f"remote: {self.remote} would be a folder of that name here; over SSH it is ssh://HOST/FOLDER (with"
                " dvc-ssh installed; the user and the key come from ~/.ssh/config), and such a folder is ./NAME"
            )
        if self.endpoint and not (self.remote or "").startswith("s3://"):
            raise ValueError("endpoint: needs a remote that begins with s3://")
        return self
