"""Sections beyond the contract: security, bounds, supervision and decision defaults."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from optimizer.config.fields import Count, Duration, LongSecret, Role, Seconds, Section, Share, Size, Text, key

StrategyName = Literal[
    "ab_testing",
    "reinforcement_feedback",
    "cost_performance_scoring",
    "adaptive_parameter_tuning",
    "threshold_based",
    "hybrid",
]


class ApiKey(Section):
    """An API key that exists from the start, for clients that cannot fetch a token."""

    name: Text = Field(description="Who uses it; shown in logs and the audit trail.")
    key: LongSecret = Field(description="The key itself, at least 32 bytes.")
    roles: tuple[Role, ...] = Field(min_length=1, description="What it may do.")


class Security(Section):
    """Who may call."""

    auth_enabled: bool = key(True, "Require a token or API key; may be off on a loopback host only.")
    jwt_secret: LongSecret | None = key(
        None, "Shared signing secret (replicas need the same one); without it a random key is kept in storage.data_dir."
    )
    jwt_previous_secrets: tuple[LongSecret, ...] = key((), "Retired secrets whose tokens still hold until they expire.")
    jwt_issuer: Text = key("llm-optimizer", "The iss that tokens must carry.")
    jwt_audience: str = key("llm-optimizer", "The aud that tokens must carry; empty for tokens without one.")
    jwt_leeway_s: Duration = key(5, "Clock difference that is forgiven, in seconds.")
    token_ttl_s: Seconds = key(3600, "Life of a token that this server issues, in seconds.", live=True)
    api_keys: tuple[ApiKey, ...] = key((), "API keys known from the start.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [each.name for each in self.api_keys]
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            raise ValueError(f"api_keys: every key needs its own name, {', '.join(doubles)} appears twice")
        return self


class Limits(Section):
    """Bounds on what one caller, one message and one server hold; beyond them work is refused early."""

    body_bytes: Size = key(4 << 20, "Largest request body or gRPC message, after decompression.")
    header_bytes: Size = key(16 << 10, "Largest header list of a request.")
    batch_events: Size = key(10_000, "Most events, scores or metrics in one request.")
    connections: Size = key(1000, "Open REST connections; further ones wait in the listen queue.")
    requests_in_flight: Size = key(1024, "Requests handled at once; further ones are refused with a retry hint.")
    subscribers: Size = key(1000, "Open subscriptions over all interfaces.")
    subscriber_buffer: Size = key(256, "Events that wait for one slow subscriber before it is disconnected.")
    rate_limit_callers: Size = key(10_000, "Callers whose rates are remembered; the least recent is forgotten first.")
    attributes_per_event: Size = key(64, "Attributes kept per event; further ones are dropped and counted.")
    attribute_bytes: Size = key(1024, "Longest text kept in one attribute or context value.")
    segments_per_service: Size = key(1000, "Segments with their own statistics; further ones share one.")
    future_skew_s: Seconds = key(300, "How far in the future an event may say that it happened.")
    past_horizon_s: Seconds = key(10 * 366 * 86_400.0, "How far in the past an event may say that it happened.")


class Supervision(Section):
    """Restarts, health checks and the stages of stopping, all in seconds from the signal."""

    check_interval_s: Seconds = key(30, "Seconds between health checks.")
    failure_threshold: Size = key(3, "Failed checks in a row before a service is restarted.")
    auto_recovery: bool = key(True, "Restart a service that keeps failing its checks.")
    max_restart_attempts: Count = key(3, "Restarts within the period before a service is given up.")
    restart_period_s: Seconds = key(300, "The period that restarts are counted over.")
    backoff_base_s: Seconds = key(1, "Wait before the first restart.")
    backoff_max_s: Seconds = key(60, "Longest wait before a restart.")
    lame_duck_s: Duration = key(0, "Time between not ready and the end of accepting, for load balancers to notice.")
    grace_edges_s: Seconds = key(10, "When the last request has to be answered.")
    grace_workers_s: Seconds = key(18, "When the workers have to be done.")
    grace_stores_s: Seconds = key(20, "When the stores have to be closed.")
    grace_tree_s: Seconds = key(25, "When what still runs is cancelled.")
    hard_limit_s: Seconds = key(30, "When the watchdog ends the process.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.backoff_base_s > self.backoff_max_s:
            raise ValueError("backoff_base_s must be at most backoff_max_s")
        order = ("lame_duck_s", "grace_edges_s", "grace_workers_s", "grace_stores_s", "grace_tree_s", "hard_limit_s")
        for earlier, later in pairwise(order):
            if getattr(self, earlier) >= getattr(self, later):
                raise ValueError(
                    f"{earlier} ({getattr(self, earlier):g}) must be below {later} ({getattr(self, later):g})"
                )
        return self


class Decisions(Section):
    """Defaults of policies; a service's own declaration goes first."""

    recompute_events: Size = key(25, "New feedback events after which a policy is computed anew.", live=True)
    recompute_interval_s: Seconds = key(1, "Longest age of unlearnt feedback, in seconds.", live=True)
    lease_s: Seconds = key(300, "How long a client may use a configuration that it was handed.", live=True)
    holdout: Share = key(0.0, "Share of traffic that stays on the baseline to measure savings against.", live=True)
    loop_enabled: bool = key(True, "Look at every service at an interval and propose changes.", live=True)
    loop_interval_s: Seconds = key(60, "Seconds between two rounds of the decision loop.", live=True)
    min_gap_s: Duration = key(300, "Least time between two proposals for one service, in seconds.", live=True)
    repeat_s: Duration = key(604_800, "How long a change that was proposed is not proposed again.", live=True)
    max_concurrent: Size = key(3, "Most optimizations that the loop lets be under way at once.", live=True)
    auto_execute: bool = key(False, "Deploy what passes every gate without a person's approval.", live=True)
    profile: Literal["conservative", "balanced", "aggressive"] = key(
        "balanced", "How sure a proposal has to be: probability 0.95, 0.9 or 0.8.", live=True
    )
    preset: Literal["cost_optimized", "balanced", "quality_optimized"] = key(
        "balanced", "Weights of quality, cost and latency.", live=True
    )
    strategies: tuple[StrategyName, ...] = key(("hybrid",), "Strategies that propose; hybrid is all.", live=True)
    allocation: Literal["fixed", "thompson_sampling", "epsilon_greedy"] = key(
        "thompson_sampling", "Which of several arms an experiment tries first.", live=True
    )
    latency_p95_ms: Seconds = key(5000, "Limit of the 95 % latency quantile that a baseline may not break.", live=True)
    error_rate: Share = key(0.05, "Limit of the share of failed calls.", live=True)
    cost_per_request: Seconds = key(0.10, "Limit of the mean cost of a call in dollars.", live=True)
    quality_min: Share = key(0.7, "Least mean quality.", live=True)
    stage_min_s: Duration = key(300, "Least time of each stage of a deployment, in seconds.")
    stage_min_events: Size = key(100, "Least calls of the candidate in each stage of a deployment.")
    rollout_timeout_s: Seconds = key(3600, "Longest time of a deployment; without a verdict by then it is taken back.")
    seed: Count = key(0, "Seed of every random choice; the same log and seed give the same decisions.")
