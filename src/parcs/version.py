"""The version of PARCS."""

from typing import Final

VERSION: Final = "0.1.0"
