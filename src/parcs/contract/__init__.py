"""Shapes that two programs share.

engine    what a program and its engine server say to each other
"""
