"""Real servers in private folders and on private ports, for tests and benches; nothing of the system is touched."""
