"""One command under limits, and the end of everything it started.

`slot` is a process of its own, one for each task that an executor runs at once. It is a subreaper: whatever a task
leaves behind, daemons too, becomes its child, and ends before the next task begins. Limits are kept by control
groups where this machine has some to give (`cgroup`), else by looking at the processes (`tree`); `means` finds
out which.
"""
