"""Our own price table: TOML rows that go before the installed data, for negotiated prices and self-hosted models.

[[price]]
provider = "openai"                  # optional: any provider
model = "gpt-4o"                     # exact; "llama-*" for all that start so
from = 2026-01-01                    # optional, inclusive, UTC
until = 2026-07-01                   # optional, exclusive
context = { processing = "batch" }   # optional: only calls that say so
input = 2.50                         # US dollars per million tokens, read exactly
output = 10.00
cache_read = 1.25                    # optional, as are cache_write, reasoning and request (dollars per call)
tiers = [{ above = 200000, input = 5.00, output = 20.00 }]
source = "contract 2026-17"          # optional, kept with every price
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from optimizer.core.pricing.card import ALWAYS, Card, Dated, Validity
from optimizer.core.pricing.rates import Rate, Rates
from optimizer.model import ConfigurationError

TOKEN_KINDS = ("input", "output", "cache_read", "cache_write", "reasoning")
KEYS = frozenset({"provider", "model", "from", "until", "context", "tiers", "source", "request", *TOKEN_KINDS})
# A dollar per token: whatever is above is a price per token or per thousand in the wrong unit.
MAX_PRICE = Decimal(1_000_000)


class BadRow(Exception):
    """A row of a price list says something impossible; reported together with the other bad rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the table."""

    model: str
    rates: Rates
    provider: str | None = None
    validity: Validity = ALWAYS
    context: tuple[tuple[str, str], ...] = ()
    source: str = "own table"


class Table:
    """Rows by model: exact names go before prefixes, longer prefixes before shorter, later rows before earlier."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self._exact: dict[str, list[Entry]] = {}
        self._prefixes: dict[str, list[Entry]] = {}
        for entry in self.entries:
            name = entry.model.lower()
            group = self._prefixes if name.endswith("*") else self._exact
            group.setdefault(name.removesuffix("*"), []).append(entry)
        self._by_length = sorted(self._prefixes, key=len, reverse=True)

    def find(self, provider: str | None, model: str) -> Card | None:
        """The card of the model, None when the table says nothing about it."""
        name = model.lower()
        groups = [self._exact.get(name, [])]
        groups += [self._prefixes[prefix] for prefix in self._by_length if name.startswith(prefix)]
        for group in groups:
            rows = [entry for entry in group if entry.provider is None or entry.provider == (provider or "").lower()]
            if rows:
                dated = [Dated(rates=e.rates, validity=e.validity, context=e.context, note=e.source) for e in rows]
                return Card("own table", rows[-1].model, dated)
        return None


def read_table(text: str, name: str = "prices") -> Table:
    """The table in a TOML text. Raises: `ConfigurationError` that lists every problem with its row."""
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}: not valid TOML: {error}") from error
    rows = content.get("price", [])
    problems = [f"{name}: {key}: unknown; allowed: [[price]]" for key in content if key != "price"]
    if not isinstance(rows, list):
        problems.append(f"{name}: price: expected rows written as [[price]]")
        rows = []
    entries = []
    for number, row in enumerate(rows, start=1):
        try:
            entries.append(_entry(row))
        except BadRow as error:
            problems.append(f"{name}: price {number}: {error}")
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Table(entries)


def _entry(row: Any) -> Entry:
    if not isinstance(row, Mapping):
        raise BadRow("expected a table")
    unknown = sorted(row.keys() - KEYS)
    if unknown:
        raise BadRow(f"{unknown[0]}: unknown; allowed: {', '.join(sorted(KEYS))}")
    model = _text(row, "model")
    if not model or model == "*" or "*" in model[:-1]:
        raise BadRow("model: expected a name, or the beginning of one with * at its end")
    provider = _text(row, "provider")
    context = row.get("context", {})
    if not isinstance(context, Mapping) or not all(isinstance(value, str) for value in context.values()):
        raise BadRow('context: expected texts, such as { processing = "batch" }')
    start, end = _moment(row, "from"), _moment(row, "until")
    if start is not None and end is not None and end <= start:
        raise BadRow("until: expected a later day than from")
    kinds = {kind: _rate(row, kind) for kind in TOKEN_KINDS}
    rates = Rates(**kinds, request=_money(row, "request") if "request" in row else None)
    if rates.input is None and rates.output is None:
        raise BadRow("expected at least one of input and output")
    return Entry(
        model=model,
        provider=provider.lower() if provider else None,
        rates=rates,
        validity=Validity(start=start, end=end) if start is not None or end is not None else ALWAYS,
        context=tuple(sorted(context.items())),
        source=_text(row, "source") or "own table",
    )


def _rate(row: Mapping[str, Any], kind: str) -> Rate | None:
    tiers = row.get("tiers", [])
    if not isinstance(tiers, list) or not all(isinstance(tier, Mapping) for tier in tiers):
        raise BadRow("tiers: expected a list of tables")
    steps = []
    for tier in tiers:
        above = tier.get("above")
        if not isinstance(above, int) or isinstance(above, bool) or above < 0:
            raise BadRow("tiers: above: expected a number of input tokens")
        unknown = sorted(tier.keys() - {"above", *TOKEN_KINDS})
        if unknown:
            raise BadRow(f"tiers: {unknown[0]}: unknown; allowed: above, {', '.join(TOKEN_KINDS)}")
        if kind in tier:
            steps.append((above, _money(tier, kind)))
    if kind not in row:
        if steps:
            raise BadRow(f"tiers: {kind}: needs {kind} below the first tier as well")
        return None
    return Rate(_money(row, kind), tuple(sorted(steps)))


def _money(row: Mapping[str, Any], key: str) -> Decimal:
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        raise BadRow(f"{key}: expected dollars")
    try:
        money = Decimal(value)
    except ArithmeticError:
        raise BadRow(f"{key}: expected dollars, not {value!r}") from None
    if not money.is_finite() or not 0 <= money <= MAX_PRICE:
        raise BadRow(f"{key}: expected 0 to {MAX_PRICE} dollars per million tokens, not {value}")
    return money


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str) or len(value) > 200:
        raise BadRow(f"{key}: expected a text of at most 200 characters")
    return value.strip()


def _moment(row: Mapping[str, Any], key: str) -> int | None:
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    elif isinstance(value, date):
        moment = datetime.combine(value, time(), UTC)
    else:
        raise BadRow(f"{key}: expected a day such as 2026-01-01")
    return int(moment.timestamp()) * 1_000_000
