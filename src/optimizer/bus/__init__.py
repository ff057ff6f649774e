"""Typed topics over memory channels, each subscription with a bound and a named overflow rule."""
