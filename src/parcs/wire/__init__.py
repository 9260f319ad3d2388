"""The protocol as a value machine: bytes in, events out; values in, bytes out. No socket in it.

    header      the eight bytes in front of every message
    codecs      a value <-> the body of a frame
    reader      a stream of bytes -> frames, whatever way the stream is cut
    buffers     memory for large bodies, used again once nobody holds it
    state       who may do what when in a handshake: transition tables
    handshake   the two greetings, of version 1 and of version 2, as machines
    control     what the two ends of a channel say to each other besides user messages

The text of the protocol is docs/protocol.md; its test vectors are protocol/vectors.json.
"""
