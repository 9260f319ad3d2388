// Measures Go to Go: a channel, and bare sockets between the same two kinds of processes, in turns.
package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs"

	"benchmarks/gobench/bare"
)

const (
	rounds = 7
	trips  = 3000
	size   = 64 << 20
	bodies = 12
)

func main() {
	if address := os.Getenv("BARE_CALL"); address != "" {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = bare.Serve(bare.Wrap(conn))
		}
		return
	}
	parcs.Run(measure)
}

// peer is what both kinds of connections can.
type peer interface {
	Send(any) error
	Recv(any) error
}

func measure(_ context.Context, engine *parcs.Engine) (any, error) {
	found := map[string][]float64{}
	for range rounds {
		floor, err := startBare()
		if err != nil {
			return nil, err
		}
		point, err := engine.Start("gobench")
		if err != nil {
			return nil, err
		}
		body := make([]byte, size)
		for name, one := range map[string]peer{"bare": floor, "ours": point} {
			trip, err := tripOf(one)
			if err != nil {
				return nil, err
			}
			found[name+"_trip"] = append(found[name+"_trip"], trip)
		}
		ours, err := rateOf(point, func() error { return point.Send(body) })
		if err != nil {
			return nil, err
		}
		bareRate, err := rateOf(floor, func() error { _, err := floor.Write(body); return err })
		if err != nil {
			return nil, err
		}
		found["ours_rate"] = append(found["ours_rate"], ours)
		found["bare_rate"] = append(found["bare_rate"], bareRate)
		_ = point.Shutdown()
		_ = floor.Close()
	}
	medians := map[string]float64{}
	for name, values := range found {
		slices.Sort(values)
		medians[name] = values[len(values)/2]
	}
	return medians, nil
}

func startBare() (*bare.Conn, error) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Close() }()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "BARE_CALL="+server.Addr().String())
	if err := command.Start(); err != nil {
		return nil, err
	}
	go func() { _ = command.Wait() }()
	conn, err := server.Accept()
	if err != nil {
		return nil, err
	}
	return bare.Wrap(conn), nil
}

// tripOf is the median of a round trip, in seconds.
func tripOf(p peer) (float64, error) {
	if err := p.Send(bare.Order{Kind: "echo", Count: trips}); err != nil {
		return 0, err
	}
	times := make([]float64, trips)
	for i := range times {
		var m bare.Message
		begin := time.Now()
		if err := p.Send(bare.Small); err != nil {
			return 0, err
		}
		if err := p.Recv(&m); err != nil {
			return 0, err
		}
		times[i] = time.Since(begin).Seconds()
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// rateOf is bytes a second.
func rateOf(p peer, send func() error) (rate float64, err error) {
	for _, count := range []int{1, bodies} { // the first has both sides' memory made
		if err := p.Send(bare.Order{Kind: "sink", Count: count, Size: size}); err != nil {
			return 0, err
		}
		begin := time.Now()
		for range count {
			if err := send(); err != nil {
				return 0, err
			}
		}
		var answer int
		if err := p.Recv(&answer); err != nil {
			return 0, err
		}
		rate = float64(size*count) / time.Since(begin).Seconds()
	}
	return rate, nil
}
