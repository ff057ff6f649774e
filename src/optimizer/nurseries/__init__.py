"""The process as a tree of nurseries: restart policy, supervisor, layers, stop, health, tree."""
