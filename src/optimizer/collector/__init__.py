"""Intake: validate, price, append durably, then acknowledge."""
