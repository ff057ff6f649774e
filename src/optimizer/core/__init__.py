"""Pure decisions: state is a function of the log and the seeds; no clock, no randomness of its own, no I/O."""
