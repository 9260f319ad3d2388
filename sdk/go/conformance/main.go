// The Go SDK's test program for the conformance kit: parcs conformance "go run ./conformance" --in sdk/go. What it must do
// is in docs/sdk.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs"
)

const patience = 20 * time.Second

func main() {
	if os.Getenv("CONFORMANCE_MODULE") != "" && os.Getenv("PARCS_CALL") == "" {
		parcs.Run(drive)
		return
	}
	parcs.Serve(serve)
}

// serve is the point's role: it does what its creator asks.
func serve(ctx context.Context, s *parcs.Service) error {
	for {
		var words []json.RawMessage
		if err := s.Recv(&words); err != nil {
			return err
		}
		var verb string
		if err := argument(words, 0, &verb); err != nil {
			return err
		}
		if verb == "end" {
			return nil
		}
		if err := do(ctx, s, verb, words); err != nil {
			return err
		}
	}
}

func do(ctx context.Context, s *parcs.Service, verb string, words []json.RawMessage) error {
	var count, size int
	var text string
	switch verb {
	case "echo":
		if err := argument(words, 1, &count); err != nil {
			return err
		}
		for range count {
			var message parcs.Message
			if err := s.Recv(&message); err != nil {
				return err
			}
			if err := s.Channel().SendMessage(message); err != nil {
				return err
			}
		}
		return nil
	case "sum":
		if err := argument(words, 1, &count); err != nil {
			return err
		}
		sum, err := add(s.Channel(), count)
		if err != nil {
			return err
		}
		return s.Send(sum)
	case "sink":
		if err := argument(words, 1, &count); err != nil {
			return err
		}
		var body []byte
		total := 0
		for range count {
			if err := s.Recv(&body); err != nil {
				return err
			}
			total += len(body)
		}
		return s.Send(total)
	case "source":
		if err := errors.Join(argument(words, 1, &count), argument(words, 2, &size)); err != nil {
			return err
		}
		body := make([]byte, size)
		for range count {
			if err := s.Send(body); err != nil {
				return err
			}
		}
		return nil
	case "fail":
		if err := argument(words, 1, &text); err != nil {
			return err
		}
		return errors.New(text)
	case "peer":
		if err := errors.Join(argument(words, 1, &text), argument(words, 2, &count)); err != nil {
			return err
		}
		return exchange(ctx, s, text, count)
	case "variable":
		if err := argument(words, 1, &text); err != nil {
			return err
		}
		return s.Send(os.Getenv(text))
	}
	return fmt.Errorf("there is no request %q", verb)
}

func argument(words []json.RawMessage, i int, into any) error {
	if i >= len(words) {
		return fmt.Errorf("the request %s is too short", words)
	}
	return json.Unmarshal(words[i], into)
}

func add(c *parcs.Channel, count int) (sum int, err error) {
	for range count {
		var v int
		if err := c.Recv(&v); err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// exchange sends a sibling 0, 1, … and its creator the sum of what the sibling sends.
func exchange(ctx context.Context, s *parcs.Service, name string, count int) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sibling, err := s.Peer(limited, name)
	if err != nil {
		return err
	}
	for i := range count {
		if err := sibling.Send(i); err != nil {
			return err
		}
	}
	sum, err := add(sibling, count)
	if err != nil {
		return err
	}
	return s.Send(sum)
}

// drive is the runner's role: it asks the same of points of a module, and gives what went wrong.
func drive(ctx context.Context, engine *parcs.Engine) (any, error) {
	module := os.Getenv("CONFORMANCE_MODULE")
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var found [][2]string
	for _, check := range []struct {
		name string
		try  func(context.Context, *parcs.Engine, string) error
	}{
		{"values", values}, {"many", many}, {"failure", failure}, {"siblings", siblings},
		{"variables", variables}, {"unknown", unknown},
	} {
		problem := ""
		if err := check.try(limited, engine, module); err != nil {
			problem = err.Error()
		}
		found = append(found, [2]string{check.name, problem})
	}
	return found, nil
}

func values(ctx context.Context, engine *parcs.Engine, module string) error {
	point, err := engine.StartContext(ctx, module)
	if err != nil {
		return err
	}
	defer func() { _ = point.Shutdown() }()
	all := []any{
		nil, true, 42.0, -1.5, "Київ", []any{}, []any{1.0, []any{2.0, map[string]any{"a": nil}}},
		map[string]any{"k": "v"}, strings.Repeat("long ", 20_000),
	}
	if err := point.Send([]any{"echo", len(all) + 2}); err != nil {
		return err
	}
	for _, value := range all {
		var got any
		if err := errors.Join(point.Send(value), point.RecvContext(ctx, &got)); err != nil {
			return err
		}
		if !reflect.DeepEqual(got, value) {
			return fmt.Errorf("%v came back as %v", value, got)
		}
	}
	var numbers []int
	if err := errors.Join(point.Send([]int{1, 2, 3}), point.RecvContext(ctx, &numbers)); err != nil {
		return err
	}
	var body []byte
	if err := errors.Join(point.Send([]byte("raw bytes")), point.RecvContext(ctx, &body)); err != nil {
		return err
	}
	if len(numbers) != 3 || string(body) != "raw bytes" {
		return fmt.Errorf("%v and %q came back", numbers, body)
	}
	return point.Send([]any{"end"})
}

func many(ctx context.Context, engine *parcs.Engine, module string) error {
	points, err := engine.StartAllContext(ctx, module, 3)
	if err != nil {
		return err
	}
	for _, point := range points {
		if err := point.Send([]any{"sum", 1000}); err != nil {
			return err
		}
		for i := range 1000 {
			if err := point.Send(i); err != nil {
				return err
			}
		}
	}
	for _, point := range points {
		var sum int
		if err := point.RecvContext(ctx, &sum); err != nil || sum != 499_500 {
			return fmt.Errorf("the sum is %d: %w", sum, err)
		}
		_ = point.Shutdown()
	}
	return nil
}

func failure(ctx context.Context, engine *parcs.Engine, module string) error {
	point, err := engine.StartContext(ctx, module)
	if err != nil {
		return err
	}
	defer func() { _ = point.Shutdown() }()
	if err := point.Send([]any{"fail", "on purpose"}); err != nil {
		return err
	}
	var remote *parcs.RemoteError
	if err := point.RecvContext(ctx, nil); !errors.As(err, &remote) || !strings.Contains(err.Error(), "on purpose") {
		return fmt.Errorf("its error did not come; %v did", err)
	}
	return nil
}

func siblings(ctx context.Context, engine *parcs.Engine, module string) error {
	points, err := engine.StartAllContext(ctx, module, 2)
	if err != nil {
		return err
	}
	left, right := points[0], points[1]
	if err := errors.Join(
		left.LinkAs(right, "right", "left"), left.Send([]any{"peer", "right", 100}), right.Send([]any{"peer", "left", 100}),
	); err != nil {
		return err
	}
	for _, point := range points {
		var sum int
		if err := point.RecvContext(ctx, &sum); err != nil || sum != 4950 {
			return fmt.Errorf("the sum is %d: %w", sum, err)
		}
		_ = point.Shutdown()
	}
	return nil
}

func variables(ctx context.Context, engine *parcs.Engine, module string) error {
	point, err := engine.StartContext(ctx, module, parcs.WithEnvironment(map[string]string{"COLOUR": "blue"}))
	if err != nil {
		return err
	}
	defer func() { _ = point.Shutdown() }()
	var colour string
	if err := errors.Join(point.Send([]any{"variable", "COLOUR"}), point.RecvContext(ctx, &colour)); err != nil {
		return err
	}
	if colour != "blue" {
		return fmt.Errorf("COLOUR is %q there", colour)
	}
	return nil
}

func unknown(ctx context.Context, engine *parcs.Engine, _ string) error {
	var refusal *parcs.EngineError
	if _, err := engine.StartContext(ctx, "no-such-module"); !errors.As(err, &refusal) {
		return fmt.Errorf("a module that does not exist gave %v", err)
	}
	return nil
}
