"""The LLM Auto Optimizer: measures LLM calls, chooses configurations, rolls changes out and proves the savings."""

__version__ = "0.1.0"
