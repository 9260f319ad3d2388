"""A real Docker Swarm of several Docker Engines on one Linux machine, for development, teaching and tests.

Every node is a network namespace with a Docker Engine of its own, joined by a bridge that lives in a
namespace too. So nodes have links that can be cut, slowed and lost, as machines have. Needs root.
"""

from parcs.lab.lab import Lab, Plan

__all__ = ["Lab", "Plan"]
