package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// contention: so many goroutines create and drop children of one parent.
func contention() {
	each := operations(400_000)
	for _, threads := range []int{1, 2, 8} {
		before := runtime.GOMAXPROCS(max(threads, runtime.GOMAXPROCS(0)))
		parent, cancel := context.WithCancel(context.Background())
		others := children(parent, 1_000)
		var processor []float64
		wall := samples(func() float64 {
			runtime.GC()
			wall, used := together(threads, func() {
				for range each {
					_, cancel := context.WithCancel(parent)
					cancel()
				}
			})
			processor = append(processor, nanosEach(used, each*threads))
			return nanosEach(wall, each*threads)
		})
		put("contention", threads, "ns", wall)
		put("contention_cpu", threads, "ns", processor)
		runtime.KeepAlive(others)
		cancel()
		runtime.GOMAXPROCS(before)
	}
}

// poll: "am I cancelled?" at the end of a chain of so many; and the same leaf from two threads, processor time for
// each.
func poll() {
	asks := operations(20_000_000)
	for _, depth := range []int{1, 10, 100, 1_000} {
		root, cancel := context.WithCancelCause(context.Background())
		leaf := root
		for range depth {
			child, end := context.WithCancelCause(leaf)
			defer end(nil)
			leaf = child
		}
		put("poll", depth, "ns", samples(func() float64 {
			watch := stopwatch()
			ask(leaf, asks)
			return nanosEach(watch(), asks)
		}))
		cancel(nil)
	}
	leaf, cancel := context.WithCancelCause(context.Background())
	put("poll_threads", 2, "ns", samples(func() float64 {
		_, used := together(2, func() { ask(leaf, asks) })
		return nanosEach(used, 2*asks)
	}))
	cancel(nil)
}

func ask(leaf context.Context, asks int) {
	for range asks {
		if leaf.Err() != nil {
			panic("nobody cancels it")
		}
	}
}

// stall: the longest that another goroutine waits for a new child while so many are cancelled.
func stall() {
	for _, size := range sizes(10_000, 100_000, 1_000_000) {
		put("stall", size, "us", samples(func() float64 {
			parent, cancel := context.WithCancelCause(context.Background())
			all := children(parent, size)
			runtime.GC()
			var over, counts atomic.Bool
			result := make(chan time.Duration)
			go func() {
				var worst time.Duration
				for !over.Load() {
					start := time.Now()
					child, cancel := context.WithCancel(parent)
					_ = child.Err()
					cancel()
					if wait := time.Since(start); wait > worst && counts.Load() {
						worst = wait
					}
				}
				result <- worst
			}()
			time.Sleep(20 * time.Millisecond)
			counts.Store(true)
			cancel(errDetached)
			over.Store(true)
			worst := <-result
			runtime.KeepAlive(all)
			return micros(worst)
		}))
	}
}

// together does the same on so many goroutines: time until the last is done, and processor time of all.
func together(threads int, work func()) (time.Duration, time.Duration) {
	var done sync.WaitGroup
	begin := make(chan struct{})
	for range threads {
		done.Go(func() {
			<-begin
			work()
		})
	}
	used, start := processorTime(), time.Now()
	close(begin)
	done.Wait()
	return time.Since(start), processorTime() - used
}
