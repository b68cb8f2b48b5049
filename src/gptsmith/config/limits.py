"""How much of what comes from outside is taken before it counts as a mistake or an attack."""

from pydantic import BaseModel, PositiveFloat, PositiveInt

from gptsmith.config.strict import STRICT


class Limits(BaseModel):
    """The most that a download or an archive may bring; units of 10^9 bytes."""

    model_config = STRICT

    download_gb: PositiveFloat = 20
    """Largest file that is downloaded."""
    unpacked_gb: PositiveFloat = 20
    """Largest file that is taken out of an archive; of a tar, which is read through, with everything before it."""
    unpack_ratio: PositiveInt = 200
    """Most bytes out of an archive for each byte in it, where it comes to more than a megabyte."""


LIMITS = Limits()
