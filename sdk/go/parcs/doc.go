// Package parcs writes PARCS programs in Go: a runner starts points, wherever they run and whatever language they are
// written in, and talks to them over channels.
//
// A program is a struct that embeds a *Runner (the first program of a job) or a *Service (what a point runs), has a Run,
// and ends in Exec:
//
//	type Program struct{ *parcs.Runner }
//
//	func (p *Program) Run() {
//		point, err := p.Start("factor")
//		...
//	}
//
//	func main() { parcs.Exec(&Program{parcs.DefaultRunner()}) }
//
// or a function, given to Run or Serve. Which engine runs the points is said by the environment: parcs run sets it, and
// so does the engine for the points. The protocol is docs/protocol.md of PARCS; the Python package has the engines.
package parcs
