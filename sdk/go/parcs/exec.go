package parcs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Executable is a program: a struct that embeds a *Runner or a *Service and has a Run.
type Executable interface {
	Init()
	Run()
	Shutdown()
	program() *program
	reason() error
	outcome() any
}

// Runner is the first program of a job: embed it.
type Runner struct {
	*Engine
	result any
	err    error
}

// DefaultRunner is a runner whose engine is the one that the environment says.
func DefaultRunner() *Runner { return NewRunner(NewEnvEngine()) }

// NewRunner is a runner with an engine.
func NewRunner(engine *Engine) *Runner { return &Runner{Engine: engine} }

// NewEnvEngine is the engine that the environment says. A setting that makes no sense ends the program, in words.
func NewEnvEngine() *Engine {
	setUpLogging()
	p, err := newProgram()
	if err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
	return &Engine{p}
}

// Init does nothing; a program may have its own.
func (r *Runner) Init() {}

// Shutdown does nothing; a program may have its own.
func (r *Runner) Shutdown() {}

// SetResult says what the job's result is; it is given to whoever ran the program.
func (r *Runner) SetResult(v any) { r.result = v }

// Fail says that the program could not do its work: once Run has returned, it ends with status 1, and its creator, if it
// has one, gets the error as a *RemoteError.
func (r *Runner) Fail(err error) { r.err = err }

// Context ends when the program is told to end; it then has a moment to do so by itself.
func (r *Runner) Context() context.Context {
	heeds.Store(true)
	return stopping
}

func (r *Runner) program() *program { return r.p }
func (r *Runner) reason() error     { return r.err }
func (r *Runner) outcome() any      { return r.result }

// Service is what a point runs: embed it. It talks to its creator with Send and Recv, and may start points of its own.
type Service struct {
	Runner
}

// DefaultService is a service whose engine is the one that the environment says.
func DefaultService() *Service { return NewService(NewEnvEngine()) }

// NewService is a service with an engine.
func NewService(engine *Engine) *Service { return &Service{Runner{Engine: engine}} }

// Init calls the creator back, or waits for an original runner's call.
func (s *Service) Init() {
	who, err := s.p.callCreator()
	if err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
	slog.Info(fmt.Sprintf("Client from %s connected", who))
}

// Name is this point's name in the control space.
func (s *Service) Name() string { return s.p.e.name }

// Channel is the channel to the creator; nil before Init.
func (s *Service) Channel() *Channel { return s.p.parent }

// Send sends the creator one message; see Channel.Send.
func (s *Service) Send(v any) error { return s.p.parent.Send(v) }

// SendContext is Send with a limit.
func (s *Service) SendContext(ctx context.Context, v any) error {
	return s.p.parent.SendContext(ctx, v)
}

// SendAll sends the creator several messages, in order.
func (s *Service) SendAll(vs ...any) error { return s.p.parent.SendAll(vs...) }

// Recv waits for the creator's next message; see Channel.Recv.
func (s *Service) Recv(v any) error { return s.p.parent.Recv(v) }

// RecvContext is Recv with a limit.
func (s *Service) RecvContext(ctx context.Context, v any) error {
	return s.p.parent.RecvContext(ctx, v)
}

// Peer is the direct channel called name; it waits until the creator has made it with Link.
func (s *Service) Peer(ctx context.Context, name string) (*Channel, error) {
	looking, found := context.WithCancel(ctx)
	defer found()
	go func() {
		for looking.Err() == nil {
			s.p.parent.lookIn() // what the creator arranged comes on its channel
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return s.p.e.waitForLink(ctx, name)
}

// stopping ends when the engine tells this program to end; heeds says whether the program looks at it.
var (
	stopping, stop = context.WithCancel(context.Background())
	heeds          atomic.Bool
)

const stopGrace = 300 * time.Millisecond

// Exec runs a program from start to end; the last line of every program's main. A panic in Run, and what Fail was given,
// goes to the creator as a *RemoteError, and ends the program with status 1.
func Exec(e Executable) {
	slog.Info("Welcome to PARCS-Go!")
	p := e.program()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		<-told
		stop()
		if heeds.Load() {
			time.Sleep(stopGrace)
		}
		p.report()
		os.Exit(128 + int(syscall.SIGTERM))
	}()
	e.Init()
	slog.Info("Running your program...")
	p.begin, p.beginBusy = time.Now(), busy()
	status := 0
	if err := live(e, p); err != nil {
		slog.Error(err.Error())
		status = 1
	}
	signal.Ignore(syscall.SIGTERM) // the work is over and the goodbyes are not: being told to stop changes nothing now
	e.Shutdown()
	p.close()
	slog.Info("Bye!")
	if status != 0 {
		os.Exit(status)
	}
}

func live(e Executable, p *program) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			trace := stack()
			p.sendError(fmt.Sprintf("%T", cause), fmt.Sprint(cause), trace)
			err = fmt.Errorf("panic: %v\n%s", cause, trace)
		}
	}()
	e.Run()
	if err := e.reason(); err != nil {
		p.sendError(kindOf(err), err.Error(), "")
		return err
	}
	return p.finish(e.outcome())
}

func (p *program) finish(result any) error {
	if p.parent != nil || result == nil {
		return nil
	}
	if p.c == nil {
		slog.Info(fmt.Sprintf("Result: %v", result))
		return nil
	}
	return p.sendResult(result)
}

// kindOf is the type of the outermost error that has a name of its own.
func kindOf(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		switch kind := fmt.Sprintf("%T", err); kind {
		case "*errors.errorString", "*errors.joinError", "*fmt.wrapError", "*fmt.wrapErrors":
		default:
			return kind[strings.LastIndex(kind, ".")+1:]
		}
	}
	return "error"
}

// Run is a whole runner as a function: its value is the job's result, its error the job's failure.
func Run(work func(ctx context.Context, engine *Engine) (any, error)) {
	Exec(&function{Runner: DefaultRunner(), work: work})
}

type function struct {
	*Runner
	work func(context.Context, *Engine) (any, error)
}

// Run does the work.
func (f *function) Run() {
	result, err := f.work(f.Context(), f.Engine)
	f.SetResult(result)
	f.Fail(err)
}

// Serve is a whole service as a function.
func Serve(work func(ctx context.Context, service *Service) error) {
	Exec(&serving{Service: DefaultService(), work: work})
}

type serving struct {
	*Service
	work func(context.Context, *Service) error
}

// Run does the work.
func (s *serving) Run() { s.Fail(s.work(s.Context(), s.Service)) }

func setUpLogging() {
	if os.Getenv("PARCS_QUIET") != "" {
		slog.SetLogLoggerLevel(slog.LevelWarn)
	}
}
