//go:build unix

package parcs

import (
	"net"
	"syscall"
	"time"
)

// tune sets a connected socket up for a channel. The kernel asks a quiet peer's each second, which wakes no process:
// so signs of life can be rare. A peer that answers none for hostSilence is lost.
func tune(conn *net.TCPConn, hostSilence time.Duration) {
	count := min(max(3, int(hostSilence/time.Second)-1), 127)
	_ = conn.SetNoDelay(true)
	_ = conn.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: time.Second, Interval: time.Second, Count: count,
	})
}

// readNow reads without waiting; syscall.EAGAIN if there is nothing yet.
func readNow(conn *net.TCPConn, b []byte) (n int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failure error
	if err := raw.Read(func(fd uintptr) bool {
		n, failure = syscall.Read(int(fd), b)
		return true
	}); err != nil {
		return 0, err
	}
	return max(n, 0), failure
}

// writeNow writes without waiting, and says how much went out.
func writeNow(conn *net.TCPConn, b []byte) (n int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failure error
	if err := raw.Write(func(fd uintptr) bool {
		n, failure = syscall.Write(int(fd), b)
		return true
	}); err != nil {
		return 0, err
	}
	return max(n, 0), failure
}
