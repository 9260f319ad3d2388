"""The hub: tasks, executors and people, over one SQL database. ``api`` over ``services`` over ``store``."""
