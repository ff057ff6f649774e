"""Settings: defaults < file < environment < flags, validated whole, one immutable object."""
