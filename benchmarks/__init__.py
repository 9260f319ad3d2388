"""Benchmarks: ours beside a reference, in one run, as ratios.

python -m benchmarks                 everything, a few minutes
python -m benchmarks channel pool    some of it
python -m benchmarks --json          for programs

report     rows and the table
peers      the processes at the other ends: bare sockets, and channels
channel    round trip, throughput, small messages, memory, against bare sockets
pool       no-op tasks, against concurrent.futures and others that are installed
start      import, first point, sixteen points
factor     speed-up of the factor example over the serial loop
"""
