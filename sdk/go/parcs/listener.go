package parcs

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

const mostPending = 512

// listener takes calls, and holds them for whoever claims their tickets. Each caller is greeted by a goroutine of its own,
// within a time limit: a silent one delays nobody.
type listener struct {
	address string
	server  net.Listener
	token   []byte
	limit   int64
	answer  func(*wire.Hello) wire.Hello
	pending chan struct{}

	mu      sync.Mutex
	arrived map[string]connection
	changed chan struct{}
	closed  bool
}

func newListener(
	host string, token []byte, s settings, answer func(*listener) func(*wire.Hello) wire.Hello,
) (*listener, error) {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // the fate of its parts cannot be told (silentFor), and it is slower
	server, err := plain.Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	l := &listener{
		address: "tcp://" + server.Addr().String(), server: server, token: token, limit: s.frameLimit,
		pending: make(chan struct{}, mostPending), arrived: map[string]connection{}, changed: make(chan struct{}),
	}
	l.answer = answer(l)
	go l.accept()
	return l, nil
}

func (l *listener) accept() {
	for {
		conn, err := l.server.Accept()
		if err != nil {
			l.mu.Lock()
			closed := l.closed
			l.mu.Unlock()
			if closed {
				return
			}
			slog.Warn("a caller could not be accepted", "error", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors, perhaps
			continue
		}
		select {
		case l.pending <- struct{}{}:
			go l.greet(conn.(*net.TCPConn))
		default:
			slog.Warn("too many callers at once; one was refused", "caller", conn.RemoteAddr().String())
			_ = conn.Close()
		}
	}
}

func (l *listener) greet(conn *net.TCPConn) {
	defer func() { <-l.pending }()
	_ = conn.SetNoDelay(true)
	var nonce [wire.NonceSize]byte = wire.NewNonce("")
	who := conn.RemoteAddr().String()
	greeted, err := greet(conn, wire.Accept2(l.token, l.answer, nonce), who, l.limit)
	if err != nil {
		level := slog.LevelDebug // garbage and port scans are no news
		switch err.(type) {
		case *AuthenticationError, *VersionMismatchError:
			level = slog.LevelWarn
		}
		slog.Log(context.Background(), level, "refused "+who, "reason", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close()
		return
	}
	l.arrived[greeted.peer.Ticket] = greeted
	l.wake()
}

// wake has everybody who waits look again; called with the lock held.
func (l *listener) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// poke has everybody who waits in claim ask giveUp again.
func (l *listener) poke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake()
}

// claim waits for the first caller who shows one of several tickets. giveUp is asked at each change.
func (l *listener) claim(
	ctx context.Context, tickets map[string]bool, giveUp func() error,
) (string, connection, error) {
	for {
		l.mu.Lock()
		for ticket, greeted := range l.arrived {
			if tickets[ticket] {
				delete(l.arrived, ticket)
				l.mu.Unlock()
				return ticket, greeted, nil
			}
		}
		changed := l.changed
		l.mu.Unlock()
		if giveUp != nil {
			if err := giveUp(); err != nil {
				return "", connection{}, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", connection{}, ctx.Err()
		}
	}
}

func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	_ = l.server.Close()
	for _, greeted := range l.arrived {
		_ = greeted.conn.Close()
	}
	clear(l.arrived)
}
