package parcs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/parcs-project/parcs/sdk/go/parcs"
)

// Echo is a service: what a point runs.
type Echo struct{ *parcs.Service }

// Run sends back what comes, until the creator has finished.
func (e *Echo) Run() {
	for {
		var v any
		if err := e.Recv(&v); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			e.Fail(err)
			return
		}
		e.Fail(e.Send(v))
	}
}

// A service ends in Exec.
func ExampleExec() {
	main := func() { parcs.Exec(&Echo{parcs.DefaultService()}) }
	_ = main
}

// A runner as a function: its value is the job's result.
func ExampleRun() {
	main := func() {
		parcs.Run(func(ctx context.Context, engine *parcs.Engine) (any, error) {
			points, err := engine.StartAllContext(ctx, "echo", 4, parcs.WithResources(parcs.Resources{CPUs: 1}))
			if err != nil {
				return nil, err
			}
			sum := 0
			for i, point := range points {
				var back int
				if err := errors.Join(point.Send(i), point.Recv(&back)); err != nil {
					return nil, err
				}
				sum += back
			}
			return sum, nil
		})
	}
	_ = main
}

// Errors say what became of a point.
func ExamplePoint_Recv() {
	work := func(point *parcs.Point) {
		var answer float64
		err := point.Recv(&answer)
		var died *parcs.PointDiedError
		var lost *parcs.NodeLostError
		var remote *parcs.RemoteError
		switch {
		case errors.As(err, &remote):
			log.Printf("its code failed: %s", remote.Message)
		case errors.As(err, &died):
			log.Printf("it died: %s", died.Ending)
		case errors.As(err, &lost):
			log.Printf("its machine %s is gone: start the work again elsewhere", lost.Node)
		}
	}
	_ = work
}

// Endings read as sentences.
func ExampleEnding_String() {
	status := 3
	fmt.Println(parcs.Ending{ExitCode: &status, Node: "node2", LastLines: []string{"out of luck"}})
	// Output:
	// ended with status 3 on node2; its last lines:
	//     out of luck
}
