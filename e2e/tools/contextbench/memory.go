package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// memory: bytes for each of so many children, on the heap and resident, and what is left of them when they are gone.
func memory() {
	all := sizes(10_000, 100_000, 1_000_000)
	// The largest first: what they leave resident the others would find.
	for i := len(all) - 1; i >= 0; i-- {
		size := all[i]
		parent, cancel := context.WithCancelCause(context.Background())
		// Written to once, so that the pages of the handles do not count.
		t := &tree{make([]context.Context, size), make([]context.CancelCauseFunc, size)}
		for i := range size {
			t.contexts[i], t.cancels[i] = parent, cancel
		}
		debug.FreeOSMemory()
		heapBefore, residentBefore := heap(), resident()
		for i := range size {
			t.contexts[i], t.cancels[i] = context.WithCancelCause(parent)
		}
		residentAfter := resident()
		runtime.GC()
		put("heap_per_child", size, "B", []float64{(heap() - heapBefore) / float64(size)})
		if size == 1_000_000 {
			put("resident_per_child", size, "B", []float64{(residentAfter - residentBefore) / float64(size)})
		}
		for i := range size {
			t.cancels[i](nil)
			t.contexts[i], t.cancels[i] = parent, cancel
		}
		debug.FreeOSMemory()
		put("heap_left", size, "B", []float64{(heap() - heapBefore) / float64(size)})
		runtime.KeepAlive(t)
		cancel(nil)
	}
}

// taskMemory: bytes of heap and stack for each of so many goroutines that wait in a child of their own.
func taskMemory() {
	for _, size := range sizes(10_000, 100_000) {
		debug.FreeOSMemory()
		before := heap() + stacks()
		w := wait(size)
		runtime.GC()
		put("heap_per_task", size, "B", []float64{(heap() + stacks() - before) / float64(size)})
		w.cancel(nil)
		w.all.Wait()
	}
}

func heap() float64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

func stacks() float64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.StackInuse)
}

// resident bytes of this process; 0 where the system does not say.
func resident() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	if err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize())
}
