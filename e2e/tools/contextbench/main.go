// What Go's context package costs: the work that controller/context/bench does with trees of Rust, done with the
// standard library.
//
//	contextbench CASE [quick]
//
// One process measures one case. Each line on stdout is a figure, NAME/SIZE UNIT MEDIAN; the names are those of the
// Rust programs, `cargo bench-fed -- context` puts them side by side.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"syscall"
	"time"
	"unsafe"
)

// The cause of every cancel, as the trees of Rust have one.
var errDetached = errors.New("the cluster leaves")

// How much is done for a figure.
var (
	repetitions = 5
	divide      = 1
	largest     = 1 << 62
)

var cases = map[string]func(){
	"create_drop":  createDrop,
	"timeout_call": timeoutCall,
	"cancel_wide":  cancelWide,
	"cancel_chain": cancelChain,
	"cancel_tree":  cancelTree,
	"waiters":      waiters,
	"bystander":    bystander,
	"contention":   contention,
	"poll":         poll,
	"stall":        stall,
	"parent_drop":  parentDrop,
	"memory":       memory,
	"task_memory":  taskMemory,
}

func main() {
	words := os.Args[1:]
	if len(words) == 2 && words[1] == "quick" {
		repetitions, divide, largest = 3, 50, 10_000
		words = words[:1]
	}
	if len(words) != 1 || cases[words[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: contextbench CASE [quick]")
		os.Exit(2)
	}
	cases[words[0]]()
}

// put prints the median of the samples.
func put(name string, size any, unit string, samples []float64) {
	sort.Float64s(samples)
	fmt.Printf("%s/%v %s %.3f\n", name, size, unit, samples[len(samples)/2])
}

// sizes are those of all that are not too much effort.
func sizes(all ...int) []int {
	var some []int
	for _, size := range all {
		if size <= largest {
			some = append(some, size)
		}
	}
	return some
}

// operations are those to do for a sample, of so many in full.
func operations(full int) int {
	return max(full/divide, 1)
}

func samples(one func() float64) []float64 {
	all := make([]float64, repetitions)
	for i := range all {
		all[i] = one()
	}
	return all
}

func nanosEach(all time.Duration, count int) float64 {
	return float64(all.Nanoseconds()) / float64(count)
}

func micros(time time.Duration) float64 {
	return float64(time.Nanoseconds()) / 1e3
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	const processClock = 2 // CLOCK_PROCESS_CPUTIME_ID of Linux
	var now syscall.Timespec
	if _, _, err := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, processClock, uintptr(unsafe.Pointer(&now)), 0); err != 0 {
		panic(err)
	}
	return time.Duration(now.Nano())
}

// stopwatch gives the time since its start: real time, or processor time with that of the garbage collector if that is
// less, as it is when others want the processor.
func stopwatch() func() time.Duration {
	start, used := time.Now(), processorTime()
	return func() time.Duration {
		return min(time.Since(start), processorTime()-used)
	}
}

// tree is a number of contexts and their ends. Both are kept, as their owners keep them.
type tree struct {
	contexts []context.Context
	cancels  []context.CancelCauseFunc
}

// children makes so many below one parent.
func children(parent context.Context, size int) *tree {
	t := &tree{make([]context.Context, size), make([]context.CancelCauseFunc, size)}
	for i := range size {
		t.contexts[i], t.cancels[i] = context.WithCancelCause(parent)
	}
	return t
}

// mustBeCancelled checks what a case has measured.
func mustBeCancelled(ctx context.Context) {
	if context.Cause(ctx) != errDetached {
		panic("cancel reaches every child before it returns")
	}
}
