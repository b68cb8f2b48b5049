"""What a name may be made of."""

from typing import Annotated

from pydantic import StringConstraints

# Names become folders and parts of Snakemake's wildcards.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
