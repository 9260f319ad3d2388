"""The command line: ``parcs``. One file a noun; what they print goes through `output`.

Exit codes: 0 well; 1 the program failed; 2 it was called wrongly (unknown module, wrong parameter, ...);
130 interrupted; 128 + n ended by signal n.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The ``parcs`` command."""
    from parcs import errors
    from parcs.cli.app import app

    try:
        app(prog_name="parcs")
    except errors.ParcsError as error:
        from parcs.cli import output

        output.complain(error)
        sys.exit(1 if isinstance(error, errors.PointError) else 2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing is left to say
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)
