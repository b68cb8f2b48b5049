"""What all models of the config share, as a setting and not as a base class."""

from pydantic import ConfigDict

# Unknown keys are refused, values are never changed after validation, and every attribute's
# docstring is its documentation (gptsmith.config.reference writes the schema and config/README.md from it).
STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
