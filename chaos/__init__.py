"""Proof by breaking: real hubs, executors and a replicated database, a nemesis, and a checker of what was seen."""
