"""What all models of the config share, as a setting and not as a base class."""

from pydantic import ConfigDict

# Unknown keys are refused, values are never changed after validation, and every attribute's
# docstring is its documentation (the schema and docs/configuration.md are generated from it).
STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
