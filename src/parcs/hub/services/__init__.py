"""The hub's rules: who may do what, what a valid task is, who runs it. No HTTP here, and no SQL."""
