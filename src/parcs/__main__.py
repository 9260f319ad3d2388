"""``python -m parcs``."""

from parcs.cli import main

if __name__ == "__main__":
    main()
