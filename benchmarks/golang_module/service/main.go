// A point that echoes, or takes, as many messages as it is told.
package main

import (
	"context"
	"errors"
	"io"

	"github.com/parcs-project/parcs/sdk/go/parcs"

	"benchmarks/gobench/bare"
)

func main() { parcs.Serve(serve) }

func serve(_ context.Context, s *parcs.Service) error {
	var body []byte
	for {
		var order bare.Order
		if err := s.Recv(&order); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for range order.Count {
			if order.Kind == "echo" {
				var m bare.Message
				if err := errors.Join(s.Recv(&m), s.Send(m)); err != nil {
					return err
				}
			} else if err := s.Recv(&body); err != nil {
				return err
			}
		}
		if order.Kind == "sink" {
			if err := s.Send(len(body)); err != nil {
				return err
			}
		}
	}
}
