// The job: splits [2, N) over P points, whatever language they are written in, and gathers the divisors they find.
package main

import (
	"context"
	"os"
	"strconv"

	"github.com/parcs-project/parcs/sdk/go/parcs"
)

func main() { parcs.Run(factor) }

func factor(_ context.Context, engine *parcs.Engine) (any, error) {
	n, err := strconv.Atoi(os.Getenv("N"))
	if err != nil {
		return nil, err
	}
	p, err := strconv.Atoi(os.Getenv("P"))
	if err != nil {
		return nil, err
	}
	points, err := engine.StartAll(os.Getenv("MODULE"), p)
	if err != nil {
		return nil, err
	}
	for i, point := range points {
		if err := point.SendAll(n, 2+(n-2)*i/p, 2+(n-2)*(i+1)/p); err != nil {
			return nil, err
		}
	}
	facts := []int{}
	for _, point := range points {
		var found []int
		if err := point.Recv(&found); err != nil {
			return nil, err
		}
		facts = append(facts, found...)
	}
	return facts, nil
}
