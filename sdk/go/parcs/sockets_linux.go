package parcs

import (
	"encoding/binary"
	"net"
	"syscall"
	"time"
	"unsafe"
)

// silentFor is for how long the peer's machine has answered nothing although it was asked; else 0. Asked means three
// retransmissions or probes (struct tcp_info in linux/tcp.h). TCP_USER_TIMEOUT would also end a healthy connection whose
// peer computes and does not read.
func silentFor(conn *net.TCPConn) time.Duration {
	const (
		retransmits, probes, lastDataSent, lastAckReceived = 2, 3, 44, 56
		unanswered, roundTrip                              = 3, 250
	)
	var info [104]byte
	size := uint32(len(info))
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	var failed syscall.Errno
	if raw.Control(func(fd uintptr) {
		_, _, failed = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	}) != nil || failed != 0 || size < lastAckReceived+4 {
		return 0
	}
	sent := binary.NativeEndian.Uint32(info[lastDataSent:])
	answered := binary.NativeEndian.Uint32(info[lastAckReceived:])
	if info[retransmits] >= unanswered && answered > sent && sent > roundTrip || info[probes] >= unanswered {
		return time.Duration(answered) * time.Millisecond
	}
	return 0
}

// yield lets others run on this processor.
func yield() { _, _, _ = syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }

// unsent is how many bytes the peer's kernel has not acknowledged yet.
func unsent(conn *net.TCPConn) int {
	const siocoutq = 0x5411
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	var count int32
	_ = raw.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, siocoutq, uintptr(unsafe.Pointer(&count)))
	})
	return int(count)
}
