"""Optimizations: create, look up, validate, cancel, suggest. Both front doors use this room."""

from optimizer.processor.optimizations.optimizations import Gates as Gates
from optimizer.processor.optimizations.optimizations import Knowledge as Knowledge
from optimizer.processor.optimizations.optimizations import Optimizations as Optimizations
from optimizer.processor.optimizations.optimizations import Selection as Selection
from optimizer.processor.optimizations.proposals import Proposal as Proposal
from optimizer.processor.optimizations.suggestion import Suggestion as Suggestion
from optimizer.processor.optimizations.suggestion import suggest as suggest
from optimizer.processor.optimizations.target import Terms as Terms
from optimizer.processor.optimizations.target import plan_rollout as plan_rollout
from optimizer.processor.optimizations.target import plan_step as plan_step
from optimizer.processor.optimizations.validation import Finding as Finding
from optimizer.processor.optimizations.validation import Validation as Validation
from optimizer.processor.optimizations.validation import validate as validate
