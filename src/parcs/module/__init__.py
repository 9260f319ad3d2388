"""Modules: programs packaged to run anywhere. A module is a folder with a ``parcs.toml``.

manifest    reading parcs.toml
parameters  the values a user gives with -e, checked against the manifest
find        from a name or a path to a folder
create      a new module from a template
"""
