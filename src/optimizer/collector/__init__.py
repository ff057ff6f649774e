"""Intake: validate, price, append durably, then acknowledge."""

from optimizer.collector.intake import Bounds as Bounds
from optimizer.collector.intake import Intake as Intake
from optimizer.collector.intake import Receipt as Receipt
from optimizer.collector.intake import Rejection as Rejection
from optimizer.collector.intake import Rules as Rules
from optimizer.collector.pricing import Pricer as Pricer
from optimizer.collector.pricing import load_table as load_table
from optimizer.collector.service import run as run
