"""The conformance kit: does an SDK, in whatever language, do what docs/protocol.md says?

program   the test program that every SDK writes (this one with the Python SDK); its requests are in docs/sdk.md
raw       a peer that says what it is told, byte by byte
checks    what is asked of the test program
suite     runs the checks, in both roles, and against another SDK's program
"""
