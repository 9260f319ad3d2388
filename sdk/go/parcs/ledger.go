package parcs

import (
	"sync"
	"time"
)

// totals is what channels have carried. Bytes are those of bodies.
type totals struct {
	sent, received, bytesSent, bytesReceived int64
	waited                                   time.Duration
}

func (t totals) plus(c *Channel) totals {
	t.sent += c.sent.Load()
	t.received += c.received.Load()
	t.bytesSent += c.bytesSent.Load()
	t.bytesReceived += c.bytesReceived.Load()
	t.waited += time.Duration(c.waited.Load())
	return t
}

// ledger is what a program's channels carried, and, while tracing, each message.
type ledger struct {
	tracing bool
	past    totals    // of channels that are over; guarded by the endpoint's lock, as is closed
	closed  []traffic // of those in a cluster that the engine has not been told of yet

	mu     sync.Mutex
	events [][]any
}

const mostClosed = 10_000

// traffic is what one channel has carried, as the engine is told: its id, its peer, messages and bytes sent and
// received, and "recv" while somebody has waited there for a while.
type traffic [7]any

func (c *Channel) traffic() traffic {
	waits := ""
	if since := c.waitsSince.Load(); since != 0 && now()-since >= int64(tick) {
		waits = "recv"
	}
	return traffic{
		c.identity, c.peer.Name, c.sent.Load(), c.received.Load(), c.bytesSent.Load(), c.bytesReceived.Load(), waits,
	}
}

func (l *ledger) add(c *Channel) { l.past = l.past.plus(c) }

func (l *ledger) note(kind string, c *Channel, number int64, size int, begin time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, []any{kind, c.identity, c.name, number, size, seconds(begin), seconds(time.Now())})
}

func (l *ledger) take() [][]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

func seconds(at time.Time) float64 { return float64(at.UnixNano()) / 1e9 }
