package main

import (
	"context"
	"runtime"
	"time"
)

// createDrop: a child comes and goes beside so many siblings. To cancel is the only way to go.
func createDrop() {
	for _, siblings := range sizes(1, 1_000, 100_000) {
		parent, cancel := context.WithCancel(context.Background())
		others := children(parent, siblings)
		count := operations(1_000_000)
		put("create_drop", siblings, "ns", samples(func() float64 {
			runtime.GC()
			watch := stopwatch()
			for range count {
				_, cancel := context.WithCancel(parent)
				cancel()
			}
			return nanosEach(watch(), count)
		}))
		runtime.KeepAlive(others)
		cancel()
	}
}

// timeoutCall: a call with a deadline of 30 s, answered at once, and after a turn of somebody else.
func timeoutCall() {
	parent, cancel := context.WithCancel(context.Background())
	defer cancel()
	answer := make(chan struct{}, 1)
	count := operations(1_000_000)
	call := func(watch func() time.Duration, before func()) float64 {
		for range count {
			ctx, cancel := context.WithTimeout(parent, 30*time.Second)
			before()
			answer <- struct{}{}
			select {
			case <-ctx.Done():
			case <-answer:
			}
			cancel()
		}
		return nanosEach(watch(), count)
	}
	put("timeout_call", "30s", "ns", samples(func() float64 {
		runtime.GC()
		return call(stopwatch(), func() {})
	}))
	put("timeout_call_pending", "30s", "ns", samples(func() float64 {
		runtime.GC()
		start := time.Now()
		return call(func() time.Duration { return time.Since(start) }, runtime.Gosched)
	}))
}

// cancelWide: so many direct children are cancelled; nobody waits in them.
func cancelWide() {
	for _, size := range sizes(1_000, 10_000, 100_000, 1_000_000) {
		put("cancel_wide", size, "us", samples(func() float64 {
			parent, cancel := context.WithCancelCause(context.Background())
			all := children(parent, size)
			return timeCancel(all, cancel)
		}))
	}
}

// cancelChain: a chain of so many is cancelled at its top.
func cancelChain() {
	for _, size := range sizes(1_000, 10_000, 100_000, 1_000_000) {
		put("cancel_chain", size, "us", samples(func() float64 {
			parent, cancel := context.WithCancelCause(context.Background())
			all := &tree{make([]context.Context, size), make([]context.CancelCauseFunc, size)}
			for i := range size {
				all.contexts[i], all.cancels[i] = context.WithCancelCause(parent)
				parent = all.contexts[i]
			}
			return timeCancel(all, cancel)
		}))
	}
}

// cancelTree: a tree of so many, ten below each, is cancelled at its top.
func cancelTree() {
	for _, size := range sizes(10_000, 100_000) {
		put("cancel_tree", size, "us", samples(func() float64 {
			all := &tree{make([]context.Context, size), make([]context.CancelCauseFunc, size)}
			all.contexts[0], all.cancels[0] = context.WithCancelCause(context.Background())
			for i := 1; i < size; i++ {
				all.contexts[i], all.cancels[i] = context.WithCancelCause(all.contexts[(i-1)/10])
			}
			return timeCancel(all, all.cancels[0])
		}))
	}
}

func timeCancel(all *tree, cancel context.CancelCauseFunc) float64 {
	runtime.GC()
	watch := stopwatch()
	cancel(errDetached)
	wait := watch()
	mustBeCancelled(all.contexts[len(all.contexts)-1])
	runtime.KeepAlive(all)
	return micros(wait)
}

// parentDrop: the owner of so many children goes.
func parentDrop() {
	for _, size := range sizes(10_000, 100_000) {
		put("parent_drop", size, "us", samples(func() float64 {
			root, cancel := context.WithCancelCause(context.Background())
			owner, end := context.WithCancelCause(root)
			all := children(owner, size)
			defer cancel(nil)
			return timeCancel(all, end)
		}))
	}
}
