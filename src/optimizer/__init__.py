"""The LLM Auto Optimizer: measures LLM calls, chooses configurations, rolls changes out and proves the savings."""
