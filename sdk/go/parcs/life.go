package parcs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

// A channel's life: signs of it, how it ends, and how it is closed.

// beat is one beat of the keeper: a sign of life if it is due, what came while nobody received, and whether the peer lives.
func (c *Channel) beat() {
	if c.failed() != nil {
		return
	}
	options := c.home.options()
	if !c.version1 && options.keepAlive > 0 && now()-c.spoke.Load() >= int64(options.keepAlive) && !c.saidBye.Load() {
		c.showLife()
	}
	if silence := silentFor(c.conn); silence > options.hostSilence {
		_ = c.fail(&PeerSilentError{c.name, silence})
		return
	}
	c.lookIn()
	silence := time.Duration(now() - c.heard.Load())
	theirs := time.Duration(c.peer.KeepAlive * float64(time.Second))
	if theirs > 0 && silence > max(options.silence, 3*theirs) {
		_ = c.fail(&PeerSilentError{c.name, silence})
	}
}

func (c *Channel) showLife() {
	if !c.sendMu.TryLock() {
		return // somebody is sending: that is sign of life enough
	}
	defer c.sendMu.Unlock()
	frame := wire.Frame(wire.KeepAlive, nil)
	n, err := writeNow(c.conn, frame)
	if n > 0 && n < len(frame) {
		_, err = c.conn.Write(frame[n:]) // half a frame has to be finished
	}
	if err == nil {
		c.spoke.Store(now())
	}
}

func (c *Channel) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// fail finishes the channel, for the first reason that is given; whoever is blocked on it returns.
func (c *Channel) fail(err error) error {
	c.mu.Lock()
	if c.failure == nil {
		c.failure = err
	}
	err = c.failure
	c.mu.Unlock()
	_ = c.conn.SetDeadline(longAgo)
	return err
}

// ended is what the end of the stream means.
func (c *Channel) ended() error {
	if err := c.reader.End(); err != nil {
		return c.fail(err)
	}
	if c.version1 || c.saidBye.Load() {
		return c.fail(ErrEndOfChannel)
	}
	return c.fail(&BrokenError{c.name, "ended without a goodbye", nil})
}

// lost is what the system's word that the connection is gone means.
func (c *Channel) lost(err error) error {
	if c.saidBye.Load() {
		return c.fail(ErrEndOfChannel)
	}
	return c.fail(&BrokenError{c.name, fmt.Sprintf("is gone: %v", err), err})
}

// lastWords is the error that the peer's code sent before it went; nil if there is none. Everything else is dropped.
func (c *Channel) lastWords() *RemoteError {
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	for _, frame := range c.inbox {
		var remote *RemoteError
		if frame.Tag == wire.Error && errors.As(c.remoteError(frame.Body), &remote) {
			return remote
		}
	}
	return nil
}

// remoteError is what the body of an error frame says.
func (c *Channel) remoteError(body []byte) error {
	remote := &RemoteError{Point: c.name}
	if err := json.Unmarshal(body, remote); err != nil {
		return &DecodeError{Codec: "error", Err: err}
	}
	return remote
}

// over says whether the peer has said goodbye, or is lost; not if this program closed the channel.
func (c *Channel) over() bool {
	err := c.failed()
	return c.saidBye.Load() || err != nil && !errors.Is(err, ErrClosed)
}

// Close says goodbye, and closes the channel once the peer has everything that was sent. Doing it twice does nothing.
func (c *Channel) Close() error {
	c.close(c.home.options().silence)
	return nil
}

// close gives what the peer has not taken after patience up.
func (c *Channel) close(patience time.Duration) {
	c.closing.Do(func() {
		broken := c.failed() != nil
		_ = c.fail(ErrClosed) // wakes whoever is blocked
		c.home.forget(c)
		c.sendMu.Lock()
		defer c.sendMu.Unlock()
		c.recvMu.Lock()
		defer c.recvMu.Unlock()
		if !broken {
			_ = c.conn.SetDeadline(time.Now().Add(time.Second))
			if !c.version1 {
				_, _ = c.conn.Write(wire.ControlFrame(wire.Message{Kind: "bye"}))
			}
			c.settle(patience)
		}
		_ = c.conn.Close()
	})
}

// settle reads on until the peer's kernel has everything: a close with unread bytes (a sign of life is enough) resets the
// connection, and what was not taken yet is lost.
func (c *Channel) settle(patience time.Duration) {
	_ = c.conn.CloseWrite()
	if c.saidBye.Load() {
		return
	}
	scratch := make([]byte, 4096)
	pause := time.Millisecond
	for deadline := time.Now().Add(patience); unsent(c.conn) > 0 && time.Now().Before(deadline); {
		_ = c.conn.SetReadDeadline(time.Now().Add(pause))
		if _, err := c.conn.Read(scratch); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
	for {
		if n, err := readNow(c.conn, scratch); n == 0 || err != nil {
			return
		}
	}
}
