"""The only room that knows Docker: one module a resource, as in Docker's own API. Foreign errors end here."""
