"""The engine on a Docker Swarm: the server that holds the Docker socket, and what puts it there.

In a container on a manager:   server (requests), backend (points), watch and logs (what Docker says), relay
On the user's machine:         deploy (the server), remote (what the command line asks of it)
Pure, and shared by both:      names, keys, job, spec, placement
"""
