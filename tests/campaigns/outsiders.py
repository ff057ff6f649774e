"""Hostile and broken input to the pure doors: tokens, configuration files, spans. One seed is one input to each.

Wanted: a forged token is refused in the one expected way; a configuration is loaded or refused without showing a
secret; a span gives an event that can be stored, or nothing. Anything else is a failure.
"""

import base64
import json
import random
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import yaml

from optimizer.config import Settings, load_settings
from optimizer.config.fields import section_of
from optimizer.core import records
from optimizer.core.dialects import Span, load_aliases, read_call, read_scores
from optimizer.model import ConfigurationError, Unauthenticated
from optimizer.security import Tokens

NOW = 1_800_000_000.0
CANARY = "canary-3f9ad1-canary-3f9ad1-canary-3f9ad1"
SECRETS = ("postgres_url", "redis_url", "kafka_password", "jwt_secret", "jwt_previous_secrets", "github_token", "jira",
           "slack_webhook_url", "anthropic", "api_keys", "api_key", "api_token", "postgres_ulr", "secret")  # fmt: skip


def forge(rng: random.Random, token: str) -> str:
    """The token changed in one of the ways that attackers and broken proxies have."""
    parts = token.split(".")
    way = rng.randrange(7)
    if way == 0:
        at = rng.randrange(len(token))
        return token[:at] + chr(rng.randrange(1, 300)) + token[at + 1 :]
    if way == 1:
        at = rng.randrange(len(token))
        return token[:at] + token[at + rng.randint(1, 9) :]
    if way == 2:
        rng.shuffle(parts)
        return ".".join(parts)
    if way == 3:
        return ".".join(rng.choices(parts, k=rng.randint(0, 6)))
    segment = rng.randrange(2)
    value = json.loads(base64.urlsafe_b64decode(parts[segment] + "=="))
    name = rng.choice([*value, "crit", "jku", "jwk", "kid", "alg", "exp", "roles", "sub", "iss", "aud", "typ"])
    value[name] = rng.choice(
        [
            None,
            True,
            0,
            -1,
            2**63,
            1e308,
            "",
            "none",
            "HS256",
            "admin",
            ["admin"],
            {},
            [],
            "../../etc/passwd",
            NOW + 1e6,
        ]
    )
    parts[segment] = base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    return ".".join(parts) if way < 6 else ".".join([*parts[:2], rng.choice(["", "AA", parts[0]])])


def try_token(rng: random.Random, tokens: Tokens, good: str) -> str | None:
    """What went wrong with a forged token, None when it was refused as it should be."""
    forged = forge(rng, good)
    if forged == good:
        return None
    try:
        tokens.verify(forged, now=NOW)
    except Unauthenticated:
        return None
    return f"accepted: {forged}"


PLAIN: list[object] = [
    *(0, 1, -1, 7, 2**40, 2**70, 0.5, -0.0, 1e300, float("inf"), float("nan"), True, False),
    *("", "x", "8080", "debug", "0.0.0.0", "a:1", "é", CANARY, f"postgres://u:{CANARY}@h/d"),
]


def any_value(rng: random.Random, depth: int = 0) -> object:
    """A value that a file or a span may hold."""
    if depth < 2 and rng.random() < 0.2:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 2 and rng.random() < 0.1:
        return {rng.choice(["a", "key", "name", "roles", "api_token"]): any_value(rng, depth + 1) for _ in range(2)}
    return rng.choice(PLAIN)


def try_settings(rng: random.Random, folder: Path) -> str | None:
    """What went wrong with a random configuration, None when it was loaded or refused without showing a secret."""
    content: dict[str, object] = {}
    for name in rng.sample([*Settings.model_fields, "nonsense"], rng.randint(1, 5)):
        field = Settings.model_fields.get(name)
        section = section_of(field.annotation) if field is not None else None
        keys = [*(section.model_fields if section is not None else ()), *SECRETS]
        content[name] = {key: any_value(rng) for key in rng.sample(keys, rng.randint(1, min(5, len(keys))))}
    path = folder / "c.yaml"
    text = yaml.safe_dump(content)
    if rng.random() < 0.2:
        broken = rng.choice(["{", "'", "\t", "- ", "\x00", "&a", f"{rng.choice(SECRETS)}: [{CANARY}"])
        text = text[: rng.randrange(len(text))] + broken
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        load_settings(path, {"LLM_OPTIMIZER__SECURITY__JWT_SECRET": CANARY[: rng.randrange(len(CANARY))]})
    except ConfigurationError as error:
        # A canary in a setting that is no secret may be shown: only secret ones count.
        for line in "".join(traceback.format_exception(error)).splitlines():
            if CANARY[:12] in line and any(name in line for name in SECRETS):
                return f"shown: {line}\n{text}"
    return None


def try_span(rng: random.Random) -> str | None:
    """What went wrong with a random span, None when its event can be stored."""
    names = [*load_aliases().fields, "annotations.0.annotation.name", "annotations.0.annotation.score", "custom.a", "é"]
    attributes = {name: any_value(rng) for name in rng.sample(names, rng.randint(0, 25))}
    attributes |= {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"} if rng.random() < 0.7 else {}
    span = Span(trace_id="ab" * 16, span_id="cd" * 8, start=0, end=rng.randrange(-5, 10**15), attributes=attributes)
    event = read_call(span, received_at=1, keep_content=rng.random() < 0.5)
    read_scores(span, received_at=1)
    if event is not None and records.decode_feedback(records.encode(event)) != event:
        return f"not stored as it is: {event}"
    return None


def main(seeds: int) -> int:
    """Try every door with `seeds` inputs; the number of failures."""
    tokens = Tokens([bytes(range(32))], issuer="llm-optimizer", audience="llm-optimizer")
    good = tokens.issue("alice", ["user"], now=NOW, ttl_s=600)
    failures = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            doors: dict[str, Callable[[random.Random], str | None]] = {
                "token": lambda rng: try_token(rng, tokens, good),
                "settings": lambda rng: try_settings(rng, Path(folder)),
                "span": try_span,
            }
            for name, door in doors.items():
                try:
                    wrong = door(random.Random(seed))
                except Exception as error:  # noqa: BLE001 - any other exception is what is looked for
                    wrong = "".join(traceback.format_exception(error))
                if wrong is not None:
                    failures += 1
                    print(f"{name} seed {seed}: {wrong}")
    print(f"outsiders: {seeds} inputs to 3 doors in {time.monotonic() - began:.0f} s, {failures} failures")
    return failures
