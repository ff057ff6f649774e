"""How long does it take to read a span of each dialect into a feedback event, and to pass over one that is no call?

python -m bench.dialects
"""

import json
import timeit

from optimizer.core.dialects import Span, read_call, read_scores

COMMON = {"server.address": "api.example", "server.port": 443, "thread.id": 7, "code.function": "answer"}
SPANS: dict[str, dict[str, object]] = {
    "otel": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.conversation.id": "c-1",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 500,
        "gen_ai.usage.input_tokens": 300,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.response.finish_reasons": ["stop"],
    },
    "openinference": {
        "openinference.span.kind": "LLM",
        "llm.provider": "openai",
        "llm.model_name": "gpt-4o",
        "session.id": "c-1",
        "llm.token_count.prompt": 300,
        "llm.token_count.completion": 50,
        "llm.token_count.total": 350,
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "x" * 500,
        "llm.output_messages.0.message.content": "x" * 500,
        "input.value": "x" * 500,
        "output.value": "x" * 500,
    },
    "openllmetry": {
        "llm.request.type": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 300,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.total_tokens": 350,
        "gen_ai.prompt.0.content": "x" * 500,
        "gen_ai.completion.0.content": "x" * 500,
        "traceloop.workflow.name": "answer",
        "traceloop.association.properties.session_id": "c-1",
    },
    "no call": {"http.request.method": "GET", "url.path": "/health", "http.response.status_code": 200},
}
NUMBER = 3_000
REPEATS = 7


def main() -> None:
    """Read one span of each kind many times and print microseconds and spans per second."""
    result: dict[str, float] = {}
    print(f"{'span':<16}{'us':>8}{'spans/s':>10}")
    for name, attributes in SPANS.items():
        span = Span(
            trace_id="ab" * 16,
            span_id="cd" * 8,
            start=0,
            end=1_500_000,
            attributes=attributes | COMMON,
            resource={"service.name": "app"},
        )
        assert (read_call(span, received_at=0) is None) == (name == "no call")

        def read(each: Span = span) -> None:
            read_call(each, received_at=0)
            read_scores(each, received_at=0)

        taken = min(timeit.repeat(read, number=NUMBER, repeat=REPEATS)) / NUMBER
        result[name] = round(taken * 1e6, 2)
        print(f"{name:<16}{taken * 1e6:>8.2f}{1 / taken:>10,.0f}")
    print("RESULT", json.dumps({"bench": "dialects", "us_per_span": result}))


if __name__ == "__main__":
    main()
