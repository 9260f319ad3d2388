module benchmarks/gobench

go 1.24.0

require github.com/parcs-project/parcs/sdk/go v0.0.0

require (
	github.com/vmihailenco/msgpack/v5 v5.4.1 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
)

replace github.com/parcs-project/parcs/sdk/go => ../../sdk/go
