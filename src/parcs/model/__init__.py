"""Pure values: no socket, thread, clock or file is touched here.

settings    the few options a program reads at its door
address     tcp://host:port
lifecycle   the life of a point as a transition table, and how it ended
resources   what a point needs
"""
