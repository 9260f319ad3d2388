"""Hubs and executors on a Swarm: deployed, upgraded one by one, looked at, removed."""
