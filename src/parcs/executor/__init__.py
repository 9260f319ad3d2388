"""An executor: runs the tasks of a hub on this machine, in slots. It dials out; nothing listens here.

`machine` decides (pure), `agent` performs: the WebSocket, the slots' processes, archives, signs of life.
"""
