package parcs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

const lastBytes = 200 * time.Millisecond

// Engine is where points run: on this machine or on a cluster, as the environment says, never the program. A Runner and a
// Service both have one, made at its first use.
type Engine struct {
	p *program
}

// Option says something about the points to start.
type Option func(*request)

type request struct {
	environment map[string]string
	resources   map[string]any
}

// WithEnvironment gives the points variables.
func WithEnvironment(variables map[string]string) Option {
	return func(r *request) {
		for name, value := range variables {
			r.environment[name] = value
		}
	}
}

// Resources is what a point needs of its machine; what is zero is not asked for. Memory is text, such as "512MiB".
type Resources struct {
	CPUs        float64
	Memory      string
	GPUs        int
	Constraints []string
	PerNode     int
}

// WithResources says what a point needs, over what its module says.
func WithResources(needs Resources) Option {
	return func(r *request) {
		set := func(name string, value any, given bool) {
			if given {
				r.resources[name] = value
			}
		}
		set("cpus", needs.CPUs, needs.CPUs != 0)
		set("memory", needs.Memory, needs.Memory != "")
		set("gpus", needs.GPUs, needs.GPUs != 0)
		set("constraints", needs.Constraints, len(needs.Constraints) > 0)
		set("per_node", needs.PerNode, needs.PerNode != 0)
	}
}

// Start starts one point of a module, and returns once it has called back.
//
// Errors: *EngineError (no such module, no image, no room), *PointStartError (its program ended, or never called),
// *EngineUnavailableError.
func (e *Engine) Start(module string, options ...Option) (*Point, error) {
	return e.StartContext(context.Background(), module, options...)
}

// StartContext is Start with a limit; what was started is ended if the context is.
func (e *Engine) StartContext(ctx context.Context, module string, options ...Option) (*Point, error) {
	points, err := e.StartAllContext(ctx, module, 1, options...)
	if err != nil {
		return nil, err
	}
	return points[0], nil
}

// StartAll starts count points of a module at once: all of them, or none.
func (e *Engine) StartAll(module string, count int, options ...Option) ([]*Point, error) {
	return e.StartAllContext(context.Background(), module, count, options...)
}

// StartAllContext is StartAll with a limit.
func (e *Engine) StartAllContext(ctx context.Context, module string, count int, options ...Option) ([]*Point, error) {
	r := request{environment: map[string]string{}, resources: map[string]any{}}
	for _, option := range options {
		option(&r)
	}
	b, err := e.p.backend()
	if err != nil {
		return nil, err
	}
	return b.start(ctx, module, count, r)
}

// Warm has count points of a module started and waiting, so that starting one costs milliseconds.
func (e *Engine) Warm(ctx context.Context, module string, count int) error {
	b, err := e.p.backend()
	if err != nil {
		return err
	}
	return b.warm(ctx, module, count)
}

// backend is one kind of engine.
type backend interface {
	start(ctx context.Context, module string, count int, r request) ([]*Point, error)
	warm(ctx context.Context, module string, count int) error
	stop(points []*Point)
	endingOf(point string) *Ending
	nodeOf(point string) string
	reportLost(point string)
	close()
}

// served is the engine of a program that has an engine server.
type served struct {
	e *endpoint
	c *client

	mu     sync.Mutex
	points map[string]*Point
}

func newServed(e *endpoint, c *client) *served {
	return &served{e: e, c: c, points: map[string]*Point{}}
}

func (s *served) start(ctx context.Context, module string, count int, r request) ([]*Point, error) {
	l, err := s.e.listen()
	if err != nil {
		return nil, err
	}
	s.c.tell(l.poke)
	environment := map[string]string{}
	if !s.c.here { // here points inherit all of it anyway
		for _, name := range passedOn {
			if value, ok := os.LookupEnv(name); ok {
				environment[name] = value
			}
		}
	}
	for name, value := range r.environment {
		environment[name] = value
	}
	var key [8]byte
	_, _ = rand.Read(key[:])
	var started struct {
		Points   []string `json:"points"`
		Protocol int      `json:"protocol"`
	}
	if err := s.c.request(ctx, "start", map[string]any{
		"module": module, "count": count, "call": l.address, "environment": environment, "resources": r.resources,
		"key": hex.EncodeToString(key[:]),
	}, &started); err != nil {
		return nil, err
	}
	points, err := s.await(ctx, l, started.Points, started.Protocol)
	if err != nil {
		_ = s.c.post("stop", map[string]any{"points": started.Points})
		for _, point := range points {
			point.channel.close(0)
			s.drop(point)
		}
		return nil, err
	}
	if !s.c.here {
		_ = s.c.post("called", map[string]any{"points": started.Points})
	}
	ordered := make([]*Point, 0, len(points))
	for _, name := range started.Points {
		ordered = append(ordered, points[name])
	}
	return ordered, nil
}

func (s *served) await(ctx context.Context, l *listener, names []string, protocol int) (map[string]*Point, error) {
	points := map[string]*Point{}
	if protocol == 1 {
		for _, name := range names {
			channel, err := s.callOriginal(ctx, name)
			if err != nil {
				return points, err
			}
			points[name] = s.adopt(name, channel)
		}
		return points, nil
	}
	pending, begin := map[string]bool{}, time.Now()
	for _, name := range names {
		pending[name] = true
	}
	for len(pending) > 0 {
		limited, cancel := context.WithTimeout(ctx, tick)
		name, greeted, err := l.claim(limited, pending, func() error { return s.firstDeath(pending) })
		cancel()
		switch {
		case err == nil:
			delete(pending, name)
			points[name] = s.adopt(name, s.e.adopt(greeted, name, name, false))
		case ctx.Err() != nil:
			return points, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if err := s.checkPatience(pending, begin); err != nil {
				return points, err
			}
		default:
			return points, err
		}
	}
	return points, nil
}

func (s *served) firstDeath(pending map[string]bool) error {
	for name := range pending {
		ending, _, _, lost := s.c.look(name)
		if ending != nil {
			return &PointStartError{name, "it never called back: it " + ending.String()}
		}
		if lost != nil && s.c.here {
			return lost
		}
	}
	return nil
}

// checkPatience says which point has had its time. In a cluster it begins when the point's container runs.
func (s *served) checkPatience(pending map[string]bool, begin time.Time) error {
	for name := range pending {
		since := begin
		if !s.c.here {
			_, running, _, _ := s.c.look(name)
			if running == nil {
				continue
			}
			since = running.at
		}
		if time.Since(since) > s.e.settings.startTimeout {
			return &PointStartError{name, fmt.Sprintf(
				"it runs, and has not called back for %s; does its program end in parcs.Exec(...)? "+
					"(PARCS_START_TIMEOUT gives slow programs more time)", s.e.settings.startTimeout)}
		}
	}
	return nil
}

// callOriginal calls a version 1 point as soon as its container runs, and again until it answers.
func (s *served) callOriginal(ctx context.Context, name string) (*Channel, error) {
	var deadline time.Time
	for {
		ending, running, changed, _ := s.c.look(name)
		if ending != nil {
			return nil, &PointStartError{name, "it never answered: it " + ending.String()}
		}
		if running == nil {
			select {
			case <-changed:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(s.e.settings.startTimeout)
		}
		channel, err := s.e.dialOriginal(running.address+":4444", name)
		if err == nil {
			return channel, nil
		}
		if time.Now().After(deadline) {
			return nil, &PointStartError{name, fmt.Sprintf(
				"its image knows nothing of PARCS, and does not answer on port 4444 as the original's do: %v", err)}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *served) adopt(name string, channel *Channel) *Point {
	point := &Point{name: name, channel: channel, owner: s}
	s.mu.Lock()
	s.points[name] = point
	s.mu.Unlock()
	slog.Info(fmt.Sprintf("Connection to %s established", name))
	return point
}

func (s *served) drop(point *Point) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.points[point.name]
	delete(s.points, point.name)
	return known
}

func (s *served) warm(ctx context.Context, module string, count int) error {
	return s.c.request(ctx, "warm", map[string]any{"module": module, "count": count}, nil)
}

func (s *served) stop(points []*Point) {
	var names []string
	for _, point := range points {
		if s.drop(point) {
			names = append(names, point.name)
		}
		point.channel.close(lastBytes)
	}
	if len(names) > 0 {
		if err := s.c.post("stop", map[string]any{"points": names}); err != nil {
			slog.Debug("the engine is gone, and its points with it", "error", err)
		}
	}
}

func (s *served) endingOf(point string) *Ending { return s.c.endingOf(point, 2*time.Second) }

func (s *served) nodeOf(point string) string {
	_, running, _, _ := s.c.look(point)
	if running == nil {
		return ""
	}
	return running.node
}

func (s *served) reportLost(point string) { _ = s.c.post("lost", map[string]any{"point": point}) }

func (s *served) close() {
	s.mu.Lock()
	left := make([]*Point, 0, len(s.points))
	for _, point := range s.points {
		left = append(left, point)
	}
	s.mu.Unlock()
	s.stop(left)
}
