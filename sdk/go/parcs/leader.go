package parcs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	dockerVersion  = "v1.41"
	leaderNetwork  = "parcs"
	dockerPatience = 30 * time.Second
)

// leader is the original's engine: a Swarm manager's Docker Engine at LEADER_URL. Each point is one service; it gets
// LEADER_URL, listens as version 1, and is called by its address (not by its virtual one, which ends idle connections).
type leader struct {
	e      *endpoint
	url    string
	base   string
	client *http.Client

	mu       sync.Mutex
	services map[string]string
}

func newLeader(e *endpoint, address string) (*leader, error) {
	where, err := url.Parse(address)
	if err != nil || where.Host == "" && where.Path == "" {
		return nil, fmt.Errorf("LEADER_URL is %q; it should look like tcp://host:port", address)
	}
	transport := &http.Transport{}
	base := "http://" + where.Host
	switch where.Scheme {
	case "tcp", "http":
	case "unix":
		base = "http://docker"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", where.Path)
		}
	default:
		return nil, fmt.Errorf("LEADER_URL is %q; tcp:// and unix:// are possible", address)
	}
	l := &leader{
		e: e, url: address, base: base + "/" + dockerVersion, services: map[string]string{},
		client: &http.Client{Transport: transport, Timeout: dockerPatience},
	}
	if err := l.do(context.Background(), http.MethodGet, "/_ping", nil, nil); err != nil {
		return nil, &EngineUnavailableError{address, err}
	}
	return l, nil
}

func (l *leader) do(ctx context.Context, method, path string, body, into any) error {
	var data io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		data = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, l.base+path, data)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := l.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 400 {
		var refusal struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(text, &refusal) != nil || refusal.Message == "" {
			refusal.Message = response.Status
		}
		return &EngineError{"DockerError", refusal.Message}
	}
	if into != nil && strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return json.Unmarshal(text, into)
	}
	return nil
}

func (l *leader) start(ctx context.Context, module string, count int, r request) ([]*Point, error) {
	points := make([]*Point, count)
	failures := make([]error, count)
	var all sync.WaitGroup
	for i := range count {
		all.Add(1)
		go func() {
			defer all.Done()
			points[i], failures[i] = l.startOne(ctx, module, r)
		}()
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		for _, point := range points {
			if point != nil {
				l.stop([]*Point{point})
			}
		}
		return nil, err
	}
	return points, nil
}

func (l *leader) startOne(ctx context.Context, image string, r request) (*Point, error) {
	environment := []string{"LEADER_URL=" + l.url}
	for name, value := range r.environment {
		environment = append(environment, name+"="+value)
	}
	spec := map[string]any{
		"TaskTemplate": map[string]any{
			"ContainerSpec": map[string]any{"Image": image, "Env": environment, "Init": true},
			"RestartPolicy": map[string]any{"Condition": "none"},
			"Networks":      []any{map[string]any{"Target": leaderNetwork}},
		},
		"EndpointSpec": map[string]any{"Mode": "dnsrr"},
	}
	var made struct{ ID string }
	if err := l.do(ctx, http.MethodPost, "/services/create", spec, &made); err != nil {
		return nil, err
	}
	point, err := l.reach(ctx, made.ID)
	if err != nil {
		l.remove(made.ID)
		return nil, err
	}
	slog.Info(fmt.Sprintf("Connection to %s established", point.name))
	return point, nil
}

// reach calls the service's one container once it runs.
func (l *leader) reach(ctx context.Context, id string) (*Point, error) {
	var service struct{ Spec struct{ Name string } }
	if err := l.do(ctx, http.MethodGet, "/services/"+id, nil, &service); err != nil {
		return nil, err
	}
	name := service.Spec.Name
	var reachable time.Time
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, tick) {
		task, err := l.task(ctx, id)
		if err != nil {
			return nil, err
		}
		switch task.Status.State {
		case "failed", "rejected", "complete", "shutdown", "orphaned":
			return nil, &PointStartError{name, fmt.Sprintf("its container is %s: %s%s",
				task.Status.State, task.Status.Err, task.Status.Message)}
		case "running":
			if reachable.IsZero() {
				reachable = time.Now()
			}
			channel, err := l.e.dialOriginal(task.address()+":4444", name)
			if err == nil {
				point := &Point{name: name, channel: channel, owner: l}
				l.mu.Lock()
				l.services[name] = id
				l.mu.Unlock()
				return point, nil
			}
			if time.Since(reachable) > l.e.settings.startTimeout {
				return nil, &PointStartError{name, fmt.Sprintf("it runs, and does not answer on port 4444: %v", err)}
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type swarmTask struct {
	Status struct {
		State, Message, Err string
		ContainerStatus     struct{ ExitCode int }
	}
	NetworksAttachments []struct{ Addresses []string }
}

func (t swarmTask) address() string {
	for _, network := range t.NetworksAttachments {
		for _, address := range network.Addresses {
			ip, _, _ := strings.Cut(address, "/")
			return ip
		}
	}
	return ""
}

func (l *leader) task(ctx context.Context, service string) (swarmTask, error) {
	filters, _ := json.Marshal(map[string][]string{"service": {service}})
	var found []swarmTask
	err := l.do(ctx, http.MethodGet, "/tasks?filters="+url.QueryEscape(string(filters)), nil, &found)
	if err != nil || len(found) == 0 {
		return swarmTask{}, err
	}
	return found[0], nil
}

func (l *leader) remove(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), dockerPatience)
	defer cancel()
	if err := l.do(ctx, http.MethodDelete, "/services/"+id, nil, nil); err != nil {
		slog.Warn("a service could not be removed", "service", id, "error", err)
	}
}

func (l *leader) warm(context.Context, string, int) error {
	return errors.New("LEADER_URL alone keeps no points warm; an engine server does: parcs run ... --on swarm")
}

func (l *leader) stop(points []*Point) {
	for _, point := range points {
		point.channel.close(lastBytes)
		l.mu.Lock()
		id := l.services[point.name]
		delete(l.services, point.name)
		l.mu.Unlock()
		if id != "" {
			l.remove(id)
		}
	}
}

func (l *leader) endingOf(point string) *Ending {
	l.mu.Lock()
	id := l.services[point]
	l.mu.Unlock()
	task, err := l.task(context.Background(), id)
	if id == "" || err != nil || task.Status.State != "failed" && task.Status.State != "complete" {
		return nil
	}
	code := task.Status.ContainerStatus.ExitCode
	return &Ending{ExitCode: &code, LastLines: nil}
}

func (l *leader) nodeOf(string) string { return "" }

func (l *leader) reportLost(string) {}

func (l *leader) close() {
	l.mu.Lock()
	left := make([]string, 0, len(l.services))
	for _, id := range l.services {
		left = append(left, id)
	}
	clear(l.services)
	l.mu.Unlock()
	for _, id := range left {
		l.remove(id)
	}
}
