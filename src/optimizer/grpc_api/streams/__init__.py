"""What streams have in common: subscriptions fed by the bus, regular states, uploads, sessions."""
