"""A loop's body on many points.

executor     Pool: a concurrent.futures.Executor whose workers are points
worker       what those points run
messages     what the two say to each other
receiver     which thread receives the results
pace         how many tasks a worker is given at a time (pure)
spin         looking again for a moment before going to sleep
mapping      what Pool.map is made of
reduction    map_reduce over a pool, with tree reduction
"""

from parcs.pool.executor import Pool
from parcs.pool.reduction import map_reduce

__all__ = ["Pool", "map_reduce"]
