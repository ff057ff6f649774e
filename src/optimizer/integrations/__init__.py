"""Outbound services; losing one never takes the process down."""
