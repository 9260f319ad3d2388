"""Engines: where points run. Chosen by URL, never by the program.

base      the contract: what a program can ask of an engine
client    the one implementation that programs use: it asks an engine server
server    serves programs over the engine protocol; knows requests, not how points run
space     the control space of one job, as the server sees it: points, reports (pure)
deadlock  who waits for whom, and whether nobody can move (pure)
local     points as processes of this machine: starting, output, death
guardian  a process that outlives a killed engine just long enough to clean up
console   lines of many points on one terminal
registry  from a URL to an engine
"""
