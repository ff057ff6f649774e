"""Keys, tokens, roles, TLS contexts, rate limits and the audit log."""
