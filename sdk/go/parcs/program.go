package parcs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

const (
	networkPatience = 55 * time.Second  // a container's network may be some moments behind the container itself
	serverPatience  = 600 * time.Second // of a warm point, for an engine server that is away
	usageEvery      = 2 * time.Second
	orphanGrace     = 2 * time.Second
)

// program is a program's place in the control space, as its environment says:
//
//	PARCS_WARM    a point that waits for a creator first
//	PARCS_CALL    a point: it dials its creator back (version 2); without it a Service listens, as the original does
//	PARCS_ENGINE  its engine server
//	LEADER_URL    a Docker Engine, where there is no engine server: the original's way
type program struct {
	e         *endpoint
	c         *client
	call      string
	begin     time.Time
	beginBusy time.Duration

	mu     sync.Mutex
	engine backend
	parent *Channel

	metering sync.Mutex
	told     time.Time
	known    map[any]traffic // what the engine knows of each channel, by its id
}

func newProgram() (*program, error) {
	s, err := readSettings(os.Getenv)
	if err != nil {
		return nil, err
	}
	if os.Getenv("PARCS_WARM") != "" {
		if err := waitToBeTaken(s); err != nil {
			return nil, err
		}
	}
	token, engine, call := os.Getenv("PARCS_TOKEN"), os.Getenv("PARCS_ENGINE"), os.Getenv("PARCS_CALL")
	if engine != "" && token == "" {
		return nil, errors.New("PARCS_ENGINE is set and PARCS_TOKEN is not; set both, or neither")
	}
	if token == "" {
		var random [32]byte
		_, _ = rand.Read(random[:])
		token = hex.EncodeToString(random[:])
	}
	host := "127.0.0.1"
	for _, url := range []string{call, engine} {
		if url != "" {
			where, err := parseAddress(url)
			if err != nil {
				return nil, err
			}
			host = ownAddress(where)
			break
		}
	}
	p := &program{call: call, begin: time.Now(), beginBusy: busy(), told: time.Now()}
	p.e = newEndpoint(ownName(), []byte(token), s, host, os.Getenv("PARCS_SPACE"), os.Getenv("PARCS_NODE"))
	p.e.ledger.tracing = os.Getenv("PARCS_TRACE") != ""
	if engine != "" {
		if p.c, err = newClient(p.e, engine); err != nil {
			return nil, err
		}
		if p.e.node != "" {
			p.e.onBeat(func() { p.tellUsage(usageEvery) })
		}
	}
	return p, nil
}

// ownName is this program's name in the control space: given, or worked out from its number in its group.
func ownName() string {
	name := os.Getenv("PARCS_POINT")
	if name == "" {
		return "runner"
	}
	slot, err1 := strconv.Atoi(os.Getenv("PARCS_SLOT"))
	first, err2 := strconv.Atoi(os.Getenv("PARCS_FIRST"))
	if err1 == nil && err2 == nil {
		return fmt.Sprintf("%s-%d", name, first+slot-1)
	}
	return name
}

// backend is the program's engine, made at the first use.
func (p *program) backend() (backend, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine != nil {
		return p.engine, nil
	}
	switch leader := os.Getenv("LEADER_URL"); {
	case p.c != nil:
		p.engine = newServed(p.e, p.c)
	case leader != "":
		made, err := newLeader(p.e, leader)
		if err != nil {
			return nil, err
		}
		p.engine = made
	default:
		return nil, errors.New(
			"this program has no engine to start points: run it with parcs run DIR (or set LEADER_URL to a Swarm manager's " +
				"Docker Engine, as in the original)")
	}
	return p.engine, nil
}

// callCreator dials the creator back, or waits for an original runner to dial; gives who it is.
func (p *program) callCreator() (string, error) {
	if p.call != "" {
		parent, err := p.dialCreator()
		if err != nil {
			return "", err
		}
		p.parent = parent
		if p.e.node != "" {
			p.e.onBeat(p.watch())
		}
		return parent.name, nil
	}
	if p.c != nil {
		return "", errors.New("this program is a service: a runner starts it, with Start(module). To let a runner of the " +
			"original PARCS drive it, start it by itself, without parcs run")
	}
	where := net.JoinHostPort("127.0.0.1", "4444")
	if os.Getenv("LEADER_URL") != "" {
		where = ":4444" // in an original's cluster
	}
	if text := os.Getenv("PARCS_LISTEN"); text != "" {
		where = text
	}
	slog.Info("Waiting for a runner on " + where)
	parent, who, err := p.e.acceptOriginal(where)
	p.parent = parent
	return who, err
}

func (p *program) dialCreator() (*Channel, error) {
	where, err := parseAddress(p.call)
	if err != nil {
		return nil, err
	}
	deadline, pause := time.Now(), 10*time.Millisecond
	if !isHere(where) {
		deadline = deadline.Add(networkPatience)
	}
	for {
		parent, err := p.e.dial(p.call, "point", p.e.name, "", false)
		var broken *BrokenError
		if err == nil || !errors.As(err, &broken) || !time.Now().Before(deadline) {
			return parent, err
		}
		time.Sleep(pause)
		pause = min(2*pause, tick)
	}
}

// watch ends a point of a cluster that has lost its creator: nobody else on its machine would.
func (p *program) watch() func() {
	var since time.Time
	return func() {
		switch {
		case !p.parent.over():
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > orphanGrace:
			p.report()
			os.Exit(128 + int(syscall.SIGTERM))
		}
	}
}

// sendError tells the creator that this program's code has failed.
func (p *program) sendError(kind, message, trace string) {
	if p.parent != nil && !p.parent.version1 {
		_ = p.parent.transmitError(&RemoteError{Point: p.e.name, Type: kind, Message: message, Traceback: trace})
	}
}

// sendResult gives the job's result to the engine.
func (p *program) sendResult(value any) error {
	if p.c == nil {
		return nil
	}
	return p.c.request(context.Background(), "result", map[string]any{"value": value}, nil)
}

// report tells the engine what this program's channels carried, and what it cost.
func (p *program) report() {
	if p.c == nil {
		return
	}
	sum, events := p.e.totals(), p.e.ledger.take()
	if p.e.ledger.tracing {
		events = append(events, []any{"run", "", "", 0, 0, seconds(p.begin), seconds(time.Now())})
	}
	if events == nil {
		events = [][]any{}
	}
	if err := p.c.post("report", map[string]any{
		"messages_sent": sum.sent, "messages_received": sum.received,
		"bytes_sent": sum.bytesSent, "bytes_received": sum.bytesReceived, "waited_s": sum.waited.Seconds(),
		"busy_s": (busy() - p.beginBusy).Seconds(), "elapsed_s": time.Since(p.begin).Seconds(), "language": "go",
		"events": events,
	}); err != nil {
		slog.Debug("the engine was not told what this program did", "error", err)
	}
}

// tellUsage tells a cluster's engine what this program takes of its machine, and the figures of channels that have
// changed, if so much time has passed since it last did.
func (p *program) tellUsage(every time.Duration) {
	p.metering.Lock()
	defer p.metering.Unlock()
	if time.Since(p.told) < every {
		return
	}
	p.told = time.Now()
	known, changed := map[any]traffic{}, []traffic{}
	for _, each := range p.e.traffic() {
		known[each[0]] = each
		if p.known[each[0]] != each {
			changed = append(changed, each)
		}
	}
	if p.c.post("usage", map[string]any{
		"cpu_s": busy().Seconds(), "memory": memory(), "channels": changed,
	}) == nil {
		p.known = known
	}
}

// close reports, says goodbye, and ends the points that were started here.
func (p *program) close() {
	if p.c != nil && p.e.node != "" {
		p.tellUsage(0)
	}
	p.report()
	if p.parent != nil {
		_ = p.parent.Close()
	}
	p.mu.Lock()
	engine := p.engine
	p.mu.Unlock()
	if engine != nil {
		engine.close()
	}
	if p.c != nil {
		p.c.close()
	}
	p.e.close()
}

// waitToBeTaken waits at the engine server until a creator wants this point, and takes on the environment it is given.
func waitToBeTaken(s settings) error {
	url, name := os.Getenv("PARCS_ENGINE"), ownName()
	where, err := parseAddress(url)
	if err != nil {
		return err
	}
	e := newEndpoint(name, []byte(os.Getenv("PARCS_TOKEN")), s, "127.0.0.1", os.Getenv("PARCS_SPACE"), os.Getenv("PARCS_NODE"))
	defer e.close()
	deadline := time.Now()
	if !isHere(where) {
		deadline = deadline.Add(serverPatience)
	}
	for {
		var n news
		channel, err := e.dial(url, "warm", name, "engine", true)
		if err == nil {
			err = channel.Recv(&n)
		}
		if err == nil {
			if n.Event != "take" {
				os.Exit(0) // it is wanted no more
			}
			return take(n)
		}
		if wire.IsRefusal(err) || !time.Now().Before(deadline) {
			return err
		}
		time.Sleep(retryAfter)
	}
}

func take(n news) error {
	for _, name := range []string{"PARCS_WARM", "PARCS_SLOT", "PARCS_FIRST"} {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	environment := map[string]string{}
	maps.Copy(environment, n.Environment)
	environment["PARCS_POINT"], environment["PARCS_CALL"] = n.Point, n.Call
	for name, value := range environment {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// busy is the processor time of this process.
func busy() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// memory is what this process's container takes, or its own most where there is none.
func memory() int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"} {
		if text, err := os.ReadFile(file); err == nil {
			if size, err := strconv.ParseInt(string(text[:max(len(text)-1, 0)]), 10, 64); err == nil {
				return size
			}
		}
	}
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Maxrss * 1024
}

// stack is the traceback of a panic, for the other side.
func stack() string { return string(debug.Stack()) }
