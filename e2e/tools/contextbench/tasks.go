package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// waiting is a number of goroutines, each waiting in a child of its own.
type waiting struct {
	cancel context.CancelCauseFunc
	all    sync.WaitGroup
	seen   atomic.Int64
	first  atomic.Int64
	base   time.Time
}

// wait starts so many and returns when all of them wait.
func wait(size int) *waiting {
	w := &waiting{base: time.Now()}
	var parent context.Context
	parent, w.cancel = context.WithCancelCause(context.Background())
	var started atomic.Int64
	for range size {
		w.all.Go(func() {
			ctx, cancel := context.WithCancel(parent)
			done := ctx.Done()
			started.Add(1)
			<-done
			if w.seen.Add(1) == 1 {
				w.first.Store(int64(time.Since(w.base)))
			}
			cancel()
		})
	}
	for started.Load() < int64(size) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	return w
}

// waiters: until cancel returns, until the first goroutine has noticed, until all are gone.
func waiters() {
	for _, size := range sizes(1_000, 10_000, 100_000) {
		var returned, first, stopped []float64
		for range repetitions {
			debug.FreeOSMemory()
			w := wait(size)
			runtime.GC()
			start := time.Now()
			w.cancel(errDetached)
			returned = append(returned, micros(time.Since(start)))
			w.all.Wait()
			stopped = append(stopped, micros(time.Since(start)))
			first = append(first, micros(time.Duration(w.first.Load())-start.Sub(w.base)))
		}
		put("waiters_cancel", size, "us", returned)
		put("waiters_first", size, "us", first)
		put("waiters_stopped", size, "us", stopped)
	}
}

// bystander: the longest that a timer of 1 ms that has nothing to do with it takes meanwhile.
func bystander() {
	for _, size := range sizes(1_000, 10_000, 100_000) {
		put("bystander", size, "us", samples(func() float64 {
			debug.FreeOSMemory()
			w := wait(size)
			runtime.GC()
			const timers = 4
			var over atomic.Bool
			results := make(chan time.Duration)
			for range timers {
				go func() {
					var worst time.Duration
					for !over.Load() {
						start := time.Now()
						time.Sleep(time.Millisecond)
						worst = max(worst, time.Since(start))
					}
					results <- worst
				}()
			}
			time.Sleep(20 * time.Millisecond)
			w.cancel(errDetached)
			w.all.Wait()
			over.Store(true)
			var worst time.Duration
			for range timers {
				worst = max(worst, <-results)
			}
			return micros(worst)
		}))
	}
}
