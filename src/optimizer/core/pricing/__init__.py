"""Prices: exact, dated, with tiers; from our own table first, then from the installed data; unknown stays unknown."""

from optimizer.core.pricing.card import Card as Card
from optimizer.core.pricing.card import Dated as Dated
from optimizer.core.pricing.card import Validity as Validity
from optimizer.core.pricing.litellm import Imported as Imported
from optimizer.core.pricing.litellm import read_litellm as read_litellm
from optimizer.core.pricing.prices import Priced as Priced
from optimizer.core.pricing.prices import Prices as Prices
from optimizer.core.pricing.prices import context_of as context_of
from optimizer.core.pricing.rates import Rate as Rate
from optimizer.core.pricing.rates import Rates as Rates
from optimizer.core.pricing.rates import Tokens as Tokens
from optimizer.core.pricing.rates import cost_of as cost_of
from optimizer.core.pricing.table import Entry as Entry
from optimizer.core.pricing.table import Table as Table
from optimizer.core.pricing.table import read_table as read_table
