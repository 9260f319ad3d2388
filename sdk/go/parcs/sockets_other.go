//go:build !linux

package parcs

import (
	"net"
	"runtime"
	"time"
)

// silentFor cannot be told here: the kernel's own probes and the peer's signs of life remain.
func silentFor(*net.TCPConn) time.Duration { return 0 }

func yield() { runtime.Gosched() }

func unsent(*net.TCPConn) int { return 0 }
