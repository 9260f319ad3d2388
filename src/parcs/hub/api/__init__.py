"""HTTP in and out: one module a noun. What is decided is decided in ``services``."""
