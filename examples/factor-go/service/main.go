// A point: it is sent N, A and B, and sends back the divisors of N in [A, B).
package main

import "github.com/parcs-project/parcs/sdk/go/parcs"

// Factor is the point's program.
type Factor struct{ *parcs.Service }

// Run answers one request.
func (f *Factor) Run() {
	var n, a, b int
	for _, number := range []*int{&n, &a, &b} {
		if err := f.Recv(number); err != nil {
			f.Fail(err)
			return
		}
	}
	facts := []int{}
	for i := a; i < b; i++ {
		if n%i == 0 {
			facts = append(facts, i)
		}
	}
	f.Fail(f.Send(facts))
}

func main() { parcs.Exec(&Factor{parcs.DefaultService()}) }
