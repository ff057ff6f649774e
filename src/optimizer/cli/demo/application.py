"""The demo's simulated application: outcomes follow a published benchmark's figures per category and model."""

import json
import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figures:
    """What the benchmark measured for one model in one category: means, and the share of correct answers."""

    accuracy: float
    latency_ms: float
    input_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Call:
    """One finished call of the application."""

    category: str
    model: str
    correct: bool
    latency_ms: float
    input_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The table: source, how often each category comes, and the figures by (category, model)."""

    source: str
    shares: dict[str, float]
    figures: dict[tuple[str, str], Figures]

    @property
    def models(self) -> list[str]:
        """Every model of the table, by name."""
        return sorted({model for _, model in self.figures})

    def accuracy(self, model: str) -> float:
        """The model's accuracy over all categories."""
        return sum(share * self.figures[c, model].accuracy for c, share in self.shares.items())

    def cost(self, model: str) -> float:
        """The model's mean cost of a call over all categories, in USD."""
        return sum(share * self.figures[c, model].cost_usd for c, share in self.shares.items())

    @property
    def best(self) -> str:
        """The most accurate model over all categories."""
        return max(self.models, key=self.accuracy)


def read_benchmark(path: Path) -> Benchmark:
    """The table from its JSON file. Raises OSError, KeyError or ValueError when it is not one."""
    raw = json.loads(path.read_text())
    prompts = {name: category["prompts"] for name, category in raw["categories"].items()}
    total = sum(prompts.values())
    return Benchmark(
        source=raw["source"],
        shares={name: n / total for name, n in prompts.items()},
        figures={
            (name, model): Figures(**figures)
            for name, category in raw["categories"].items()
            for model, figures in category["models"].items()
        },
    )


class Application:
    """Draws what users ask for and what a model would have done; seeded, so a demo can be repeated."""

    def __init__(self, benchmark: Benchmark, seed: int) -> None:
        self._benchmark = benchmark
        self._rng = random.Random(seed)
        self._categories = list(benchmark.shares)
        self._weights = list(benchmark.shares.values())

    def next_category(self) -> str:
        """What the next user asks for."""
        return self._rng.choices(self._categories, self._weights)[0]

    def call(self, category: str, model: str) -> Call:
        """The model answers: right or wrong by its accuracy, latency and cost scattered around its means."""
        f = self._benchmark.figures[category, model]
        size = self._rng.gammavariate(4, 0.25)
        return Call(
            category=category,
            model=model,
            correct=self._rng.random() < f.accuracy,
            latency_ms=round(f.latency_ms * self._rng.lognormvariate(-0.08, 0.4), 1),
            input_tokens=max(1, round(f.input_tokens * size)),
            output_tokens=max(1, round(f.output_tokens * size)),
            cost_usd=round(f.cost_usd * size, 9),
        )
