"""The capabilities of a model, as far as a table of models states them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The statements about one model. None, and no inputs: nothing is stated.

    input_modalities: among text, image, audio, video and file. tools: it calls functions. structured_output: it keeps
    to a JSON schema. max_input_tokens, max_output_tokens: the longest request and answer.
    """

    input_modalities: tuple[str, ...] = ()
    tools: bool | None = None
    reasoning: bool | None = None
    structured_output: bool | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None

    def stated(self) -> Mapping[str, object]:
        """Return what is stated, by name."""
        all_of_it = {
            "input_modalities": list(self.input_modalities) or None,
            "tools": self.tools,
            "reasoning": self.reasoning,
            "structured_output": self.structured_output,
            "max_input_tokens": self.max_input_tokens,
            "max_output_tokens": self.max_output_tokens,
        }
        return {name: value for name, value in all_of_it.items() if value is not None}


CapabilityTable = Mapping[tuple[str, str], Capabilities]
"""By provider and its name of the model."""
