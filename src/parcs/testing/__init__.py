"""The public test kit: contracts as checks that run over any implementation.

channel   what every channel must do
vectors   the wire's test vectors, run against this implementation
"""

from parcs.testing.channel import check_channel

__all__ = ["check_channel"]
