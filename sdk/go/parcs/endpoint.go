package parcs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

// Version is the version of PARCS this SDK belongs to.
const Version = "0.1.0"

const linkTimeout = 60 * time.Second

// endpoint is a program's end of all its channels: it dials, is called, and keeps channels alive.
type endpoint struct {
	name, node, space string
	token             []byte
	settings          settings
	host              string
	ledger            ledger

	mu       sync.Mutex
	listener *listener
	channels map[*Channel]struct{}
	links    map[string]*link
	changed  chan struct{}
	over     chan struct{}
	keeping  bool
	duties   []func()
}

// link is a direct channel that the creator arranged: dialled already, or to be waited for.
type link struct {
	ticket  string
	channel *Channel
	err     error
}

func newEndpoint(name string, token []byte, s settings, host, space, node string) *endpoint {
	return &endpoint{
		name: name, token: token, settings: s, host: host, space: space, node: node,
		channels: map[*Channel]struct{}{}, links: map[string]*link{},
		changed: make(chan struct{}), over: make(chan struct{}),
	}
}

// listen is where this program is called; it begins to listen at the first use.
func (e *endpoint) listen() (*listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listener == nil {
		made, err := newListener(e.host, e.token, e.settings, func(l *listener) func(*wire.Hello) wire.Hello {
			return func(caller *wire.Hello) wire.Hello { return e.greeting(caller.Role, "", l.address) }
		})
		if err != nil {
			return nil, err
		}
		e.listener = made
	}
	return e.listener, nil
}

// hello is what this program says of itself.
func (e *endpoint) hello(role, ticket string) (wire.Hello, error) {
	if role == "engine" || role == "warm" {
		return e.greeting(role, ticket, ""), nil
	}
	l, err := e.listen()
	if err != nil {
		return wire.Hello{}, err
	}
	return e.greeting(role, ticket, l.address), nil
}

func (e *endpoint) greeting(role, ticket, listen string) wire.Hello {
	return wire.Hello{
		Kind: "hello", Role: role, Name: e.name, Ticket: ticket, Listen: listen, FrameLimit: e.settings.frameLimit,
		KeepAlive: e.settings.keepAlive.Seconds(), Protocol: wire.Protocol, Version: Version, Language: "go",
		LanguageVersion: strings.TrimPrefix(runtime.Version(), "go"), Node: e.node,
	}
}

// dial calls another program. hidden channels carry no user's messages.
func (e *endpoint) dial(address, role, ticket, name string, hidden bool) (*Channel, error) {
	where, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	hello, err := e.hello(role, ticket)
	if err != nil {
		return nil, err
	}
	conn, err := connect(where)
	if err != nil {
		return nil, &BrokenError{address, "cannot be made: " + err.Error(), err}
	}
	greeted, err := greet(conn, wire.Dial2(e.token, hello, wire.NewNonce(e.space)), address, e.settings.frameLimit)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = greeted.peer.Name
	}
	return e.adopt(greeted, name, ticket, hidden), nil
}

// dialOriginal calls a point of version 1.
func (e *endpoint) dialOriginal(where, name string) (*Channel, error) {
	conn, err := connect(where)
	if err != nil {
		return nil, &BrokenError{where, "cannot be made: " + err.Error(), err}
	}
	greeted, err := greet(conn, wire.Dial1(), where, e.settings.frameLimit)
	if err != nil {
		return nil, err
	}
	return e.adopt(greeted, name, name, false), nil
}

// acceptOriginal listens as version 1 does, for the one runner; callers that do not greet properly are dropped.
func (e *endpoint) acceptOriginal(where string) (*Channel, string, error) {
	server, err := net.Listen("tcp", where)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = server.Close() }()
	for {
		conn, err := server.Accept()
		if err != nil {
			return nil, "", err
		}
		ip, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		greeted, err := greet(conn.(*net.TCPConn), wire.Accept1(), ip, e.settings.frameLimit)
		if err == nil {
			return e.adopt(greeted, ip, ip, false), ip, nil
		}
	}
}

// adopt makes a channel of a greeted connection. The identity is the same at both ends.
func (e *endpoint) adopt(c connection, name, identity string, hidden bool) *Channel {
	var owner home = e
	if hidden {
		owner = backstage{e}
	}
	made := newChannel(c, name, identity, owner)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.channels[made] = struct{}{}
	if !e.keeping {
		e.keeping = true
		go e.keep()
	}
	return made
}

// keep gives each channel its beat, twice a second.
func (e *endpoint) keep() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-e.over:
			return
		case <-ticker.C:
		}
		e.mu.Lock()
		open, duties := slices.Collect(maps.Keys(e.channels)), e.duties
		e.mu.Unlock()
		for _, c := range open {
			c.beat()
		}
		for _, duty := range duties {
			duty()
		}
	}
}

// onBeat adds something to do at each beat.
func (e *endpoint) onBeat(duty func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.duties = append(e.duties, duty)
}

// attached is the creator's word that it arranged a direct channel: dial it, or expect its call.
func (e *endpoint) attached(m wire.Message) {
	made := &link{ticket: m.Ticket}
	if m.Dial != "" {
		made.channel, made.err = e.dial(m.Dial, "link", m.Ticket, m.Name, false)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.links[m.Name] = made
	close(e.changed)
	e.changed = make(chan struct{})
}

// waitForLink gives the direct channel called name, once the creator has arranged it.
func (e *endpoint) waitForLink(ctx context.Context, name string) (*Channel, error) {
	for {
		e.mu.Lock()
		found, changed := e.links[name], e.changed
		var known []string
		for other := range e.links {
			known = append(known, other)
		}
		e.mu.Unlock()
		if found != nil {
			return e.claimLink(ctx, found, name)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s has no direct channel named %q; it has %q. Its creator makes one with Link: %w",
				e.name, name, known, ctx.Err())
		}
	}
}

func (e *endpoint) claimLink(ctx context.Context, found *link, name string) (*Channel, error) {
	if found.channel != nil || found.err != nil {
		return found.channel, found.err
	}
	l, err := e.listen()
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	_, greeted, err := l.claim(limited, map[string]bool{found.ticket: true}, nil)
	if err != nil {
		return nil, fmt.Errorf("%s has not called: %w", name, err)
	}
	found.channel = e.adopt(greeted, name, found.ticket, false)
	return found.channel, nil
}

func (e *endpoint) close() {
	close(e.over)
	e.mu.Lock()
	open, l := slices.Collect(maps.Keys(e.channels)), e.listener
	e.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	if l != nil {
		l.close()
	}
}

func (e *endpoint) options() settings { return e.settings }

func (e *endpoint) traces() bool { return e.ledger.tracing }

// forget drops a channel that is over; what it carried still counts.
func (e *endpoint) forget(c *Channel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.channels[c]; ok {
		delete(e.channels, c)
		e.ledger.add(c)
		if e.node != "" && c.home == home(e) && len(e.ledger.closed) < mostClosed {
			e.ledger.closed = append(e.ledger.closed, c.traffic())
		}
	}
}

func (e *endpoint) note(kind string, c *Channel, number int64, size int, begin time.Time) {
	e.ledger.note(kind, c, number, size, begin)
}

// totals is what all channels of this program have carried.
func (e *endpoint) totals() totals {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := e.ledger.past
	for c := range e.channels {
		if c.home == home(e) {
			sum = sum.plus(c)
		}
	}
	return sum
}

// traffic is what each channel has carried, those too that closed since the last time.
func (e *endpoint) traffic() []traffic {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.ledger.closed
	e.ledger.closed = nil
	for c := range e.channels {
		if c.home == home(e) {
			all = append(all, c.traffic())
		}
	}
	return all
}

// backstage is the home of a channel to an engine server: what it carries is no user's message.
type backstage struct{ e *endpoint }

func (b backstage) options() settings                            { return b.e.settings }
func (b backstage) attached(wire.Message)                        {}
func (b backstage) traces() bool                                 { return false }
func (b backstage) note(string, *Channel, int64, int, time.Time) {}
func (b backstage) forget(c *Channel) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	delete(b.e.channels, c)
}

func connect(where string) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", where, connectTimeout)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// greet runs a handshake to its end within its time; closes the connection if it fails.
func greet(conn *net.TCPConn, h *wire.Handshake, who string, limit int64) (connection, error) {
	err := run(conn, h)
	if err != nil {
		if len(h.Refusal) > 0 {
			_, _ = conn.Write(h.Refusal)
		}
		_ = conn.Close()
		switch {
		case wire.IsRefusal(err):
		case isTimeout(err):
			err = &HandshakeError{Reason: fmt.Sprintf("%s did not greet within %s: is it a PARCS program?", who, handshakeTimeout)}
		default:
			err = &HandshakeError{Reason: fmt.Sprintf("%s broke the connection off in mid-greeting: %v", who, err)}
		}
		return connection{}, err
	}
	made := connection{conn: conn, peer: wire.Hello{Name: who, FrameLimit: limit}}
	allowed := wire.TagsV1
	if h.Peer != nil {
		made.peer, allowed = *h.Peer, wire.TagsV2
	}
	made.reader = wire.NewReader(limit, allowed)
	made.reader.Received(copy(made.reader.Buffer(), h.Leftover()))
	return made, nil
}

func run(conn *net.TCPConn, h *wire.Handshake) error {
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	out := h.Start()
	data := make([]byte, 16384)
	for {
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return err
			}
		}
		if h.Done() {
			return conn.SetDeadline(time.Time{})
		}
		n, err := conn.Read(data)
		if n == 0 {
			if err == nil || errors.Is(err, net.ErrClosed) || !isTimeout(err) {
				return h.End()
			}
			return err
		}
		if out, err = h.Receive(data[:n]); err != nil {
			return err
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
