package parcs

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

const (
	answerTimeout = 60 * time.Second
	slowAnswer    = 15 * time.Minute // a cluster may have to fetch a large image first
	patience      = 90 * time.Second
	retryAfter    = 300 * time.Millisecond
)

// client is a program's connection to its engine server. A server on this machine that is gone is gone, and all points
// with it. One of a cluster may come back on another machine: requests are repeated, and what was missed is asked for.
type client struct {
	e       *endpoint
	address string
	here    bool
	onNews  func()

	mu      sync.Mutex
	channel *Channel
	number  int64
	answers map[int64]chan answer
	endings map[string]Ending
	running map[string]runningPoint
	changed chan struct{}
	lost    error
	closed  bool
}

type answer struct {
	ok  json.RawMessage
	err error
}

type runningPoint struct {
	at            time.Time
	node, address string
}

// news is whatever the server sends: an answer, or an event.
type news struct {
	ID    json.RawMessage `json:"id"`
	OK    json.RawMessage `json:"ok"`
	Error *struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
	Event       string            `json:"event"`
	Point       string            `json:"point"`
	Ending      *Ending           `json:"ending"`
	Node        string            `json:"node"`
	Address     string            `json:"address"`
	Call        string            `json:"call"`
	Environment map[string]string `json:"environment"`
}

func newClient(e *endpoint, address string) (*client, error) {
	where, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	return &client{
		e: e, address: address, here: isHere(where), onNews: func() {}, answers: map[int64]chan answer{},
		endings: map[string]Ending{}, running: map[string]runningPoint{}, changed: make(chan struct{}),
	}, nil
}

// request asks, and waits for the answer; into may be nil.
func (c *client) request(ctx context.Context, verb string, fields map[string]any, into any) error {
	deadline := time.Now()
	if !c.here {
		deadline = deadline.Add(patience)
	}
	for {
		ok, err := c.ask(ctx, verb, fields)
		var unavailable *EngineUnavailableError
		if err == nil {
			if into != nil {
				return json.Unmarshal(ok, into)
			}
			return nil
		}
		if !errors.As(err, &unavailable) || wire.IsRefusal(err) || !time.Now().Before(deadline) {
			return err
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *client) ask(ctx context.Context, verb string, fields map[string]any) (json.RawMessage, error) {
	got := make(chan answer, 1)
	c.mu.Lock()
	c.number++
	number := c.number
	c.answers[number] = got
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.answers, number)
		c.mu.Unlock()
	}()
	if err := c.send(withVerb(fields, verb, number)); err != nil {
		return nil, err
	}
	wait := answerTimeout
	if !c.here {
		wait = slowAnswer
	}
	select {
	case found := <-got:
		return found.ok, found.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
		return nil, &EngineUnavailableError{c.address, errors.New("it has not answered " + verb)}
	}
}

// post tells, and waits for nothing.
func (c *client) post(verb string, fields map[string]any) error {
	return c.send(withVerb(fields, verb, nil))
}

func withVerb(fields map[string]any, verb string, number any) map[string]any {
	message := map[string]any{"do": verb}
	if number != nil {
		message["id"] = number
	}
	for key, value := range fields {
		message[key] = value
	}
	return message
}

func (c *client) send(message map[string]any) error {
	channel, err := c.open()
	if err == nil {
		err = channel.Send(message)
	}
	if err != nil {
		return &EngineUnavailableError{c.address, err}
	}
	return nil
}

func (c *client) open() (*Channel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.channel == nil {
		made, err := c.e.dial(c.address, "engine", "", "engine", true)
		if err != nil {
			return nil, err
		}
		c.channel, c.lost = made, nil
		go c.listen(made)
	}
	return c.channel, nil
}

func (c *client) listen(channel *Channel) {
	for {
		var n news
		err := channel.Recv(&n)
		var garbled *DecodeError
		if errors.As(err, &garbled) {
			continue
		}
		if err != nil {
			c.drop(channel, err)
			return
		}
		c.take(n)
	}
}

// drop ends this connection; where the server may come back, it is looked for.
func (c *client) drop(channel *Channel, err error) {
	lost := &EngineUnavailableError{c.address, err}
	c.mu.Lock()
	c.lost = lost
	if c.channel == channel && !c.here {
		c.channel = nil
	}
	for number, waiting := range c.answers {
		waiting <- answer{err: lost}
		delete(c.answers, number)
	}
	closed, notify := c.closed, c.onNews
	c.wake()
	c.mu.Unlock()
	notify()
	if c.here || closed {
		return
	}
	channel.close(0)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(retryAfter) {
		if err := c.send(map[string]any{"id": "sync", "do": "status"}); err == nil || errors.Is(err, ErrClosed) {
			return
		}
	}
}

// wake has everybody who waits for news look again; called with the lock held.
func (c *client) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *client) take(n news) {
	c.mu.Lock()
	notify := c.onNews
	defer notify()
	defer c.mu.Unlock()
	defer c.wake()
	switch {
	case string(n.ID) == `"sync"`:
		c.catchUp(n.OK)
	case n.ID != nil:
		var number int64
		if json.Unmarshal(n.ID, &number) != nil {
			return
		}
		if waiting, ok := c.answers[number]; ok {
			delete(c.answers, number)
			if n.Error != nil {
				waiting <- answer{err: &EngineError{n.Error.Type, n.Error.Message}}
			} else {
				waiting <- answer{ok: n.OK}
			}
		}
	case n.Event == "ended" && n.Ending != nil:
		c.endings[n.Point] = *n.Ending
	case n.Event == "running":
		c.running[n.Point] = runningPoint{time.Now(), n.Node, n.Address}
	}
}

// catchUp takes in which points ended while the server was away.
func (c *client) catchUp(status json.RawMessage) {
	var found struct {
		Points []struct {
			Name   string  `json:"name"`
			Ending *Ending `json:"ending"`
		} `json:"points"`
	}
	if json.Unmarshal(status, &found) != nil {
		return
	}
	for _, point := range found.Points {
		if point.Ending != nil {
			c.endings[point.Name] = *point.Ending
		}
	}
}

// tell has notify called at each piece of news.
func (c *client) tell(notify func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onNews = notify
}

// look gives what is known of a point, and what to wait on for more.
func (c *client) look(point string) (ending *Ending, running *runningPoint, changed <-chan struct{}, lost error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.endings[point]; ok {
		ending = &found
	}
	if found, ok := c.running[point]; ok {
		running = &found
	}
	return ending, running, c.changed, c.lost
}

// endingOf is how a point ended, waiting a moment for the news; nil if it has not.
func (c *client) endingOf(point string, patience time.Duration) *Ending {
	timeout := time.After(patience)
	for {
		ending, _, changed, lost := c.look(point)
		if ending != nil || lost != nil {
			return ending
		}
		select {
		case <-changed:
		case <-timeout:
			return nil
		}
	}
}

func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	channel := c.channel
	c.channel = nil
	c.mu.Unlock()
	if channel != nil {
		_ = channel.Close()
	}
}
