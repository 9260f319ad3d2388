"""Modules as images: base images, building, and the registry that holds them."""
