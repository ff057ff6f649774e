"""The token rule: one meaning for counts that emitters report in two ways.

OpenTelemetry and OpenInference count cached tokens inside the input; Anthropic's API and what copies its numbers
report them beside it. Adding or subtracting blindly doubles or halves bills, so: believe the inclusive reading unless
the numbers contradict it. Reasoning is part of the output and is never added.
"""

from typing import Literal, NamedTuple

# What a count may be at most: exact in every JSON reader, and far above any call.
LARGEST = 2**53

Quality = Literal["reported", "inferred", "inconsistent"]


class Usage(NamedTuple):
    """Counts in our meaning: `input_tokens` with all cached ones, `output_tokens` with reasoning; None is unknown.

    `quality`: as reported, worked out because the report says it otherwise, or contradicting itself; None without any.
    """

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    quality: Quality | None

    @property
    def fresh_tokens(self) -> int | None:
        """Input tokens that were neither read from nor written to a cache."""
        if self.input_tokens is None:
            return None
        return self.input_tokens - (self.cache_read_tokens or 0) - (self.cache_write_tokens or 0)


def read_usage(
    input_tokens: object = None,
    output_tokens: object = None,
    cache_read_tokens: object = None,
    cache_write_tokens: object = None,
    reasoning_tokens: object = None,
    total_tokens: object = None,
) -> Usage:
    """The counts as they were reported, brought to our meaning. What is no count is unknown."""
    raw = (input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_tokens)
    given, output, read, write, reasoning, total = known = [None if value is None else count(value) for value in raw]
    quality: Quality | None = "reported"
    if known.count(None) != raw.count(None):
        quality = "inconsistent"  # something was said that is no count
    if given is None and total is not None and output is not None and total >= output:
        given, quality = total - output, "inferred"
    cached = (read or 0) + (write or 0)
    if given is not None and cached and _is_exclusive(given, cached, output, total):
        given, quality = given + cached, "inferred"
    if reasoning is not None and output is not None and reasoning > output:
        quality = "inconsistent"
    if given is None and output is None and read is None and write is None:
        quality = None
    return Usage(given, output, read, write, reasoning, quality)


def _is_exclusive(given: int, cached: int, output: int | None, total: int | None) -> bool:
    """Whether the input was reported without the cached tokens: they exceed it, or only so does the total add up."""
    if cached > given:
        return True
    return total is not None and output is not None and total == given + cached + output


def count(value: object) -> int | None:
    """A token count; integral floats and digits in a text are what some exporters make of one."""
    if type(value) is int:
        return value if 0 <= value <= LARGEST else None
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 17 else None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() and value >= 0 else None
    else:
        return None  # booleans too
    return value if value is not None and value <= LARGEST else None
