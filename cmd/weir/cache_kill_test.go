package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// kills is 20 where the bar is measured.
var kills = flag.Int("kills", 3, "TestCacheKill: how `often` the edge is killed")

const (
	killViewers = 32
	settled     = time.Second      // after which what was finished must outlive a kill
	remembering = 10 * time.Second // in which the edge has read its folder
)

// TestCacheKill: an edge with a folder on the disk is killed under load at any moment and
// started again, over and over. Whatever it serves then is whole, of one version, that
// of its ETag, and not older than it may be; and what was finished a second before it was killed
// is still there. Every fourth life ends while it has hardly begun.
func TestCacheKill(t *testing.T) {
	origin := newShifting(t)
	dir := t.TempDir()
	crowd := &killCrowd{t: t, origin: origin, finished: map[*shiftingItem]finishedItem{}}
	var expected, answers int
	for round := range *kills {
		e := startCache(t, origin.URL, "-cache.dir", dir, "-cache.disk", "20GiB", "-cache.memory", "64MiB", "-cache.slice", "256KiB")
		life := time.Duration(1500+rand.IntN(2500)) * time.Millisecond
		if early := round%4 == 3; early {
			life = time.Duration(rand.IntN(300)) * time.Millisecond
		} else {
			expected += crowd.remembered(e)
		}
		answers += crowd.visit(e, life)
		if t.Failed() {
			return
		}
	}
	e := startCache(t, origin.URL, "-cache.dir", dir, "-cache.disk", "20GiB", "-cache.memory", "64MiB", "-cache.slice", "256KiB")
	expected += crowd.remembered(e)
	t.Logf("%d kills: %d answers were right, %d objects had to be there again and were", *kills, answers, expected)
	if expected == 0 || answers == 0 {
		t.Error("nothing was tried")
	}
}

// A killCrowd are the viewers, over all lives of the edge.
type killCrowd struct {
	t      *testing.T
	origin *shifting
	killed time.Time // last

	mu       sync.Mutex
	finished map[*shiftingItem]finishedItem
}

// A finishedItem is what a viewer has got whole.
type finishedItem struct {
	version   int
	at, fresh time.Time // when, and until when it is a hit without the origin
}

// visit has the edge under load until it is killed, and returns how many answers
// were right.
func (c *killCrowd) visit(e *cacheEdge, life time.Duration) int {
	var dying atomic.Bool
	var right atomic.Int64
	var all sync.WaitGroup
	for range killViewers {
		all.Go(func() {
			for !dying.Load() && !c.t.Failed() {
				if c.watch(e, &dying) {
					right.Add(1)
				}
				<-time.After(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
		})
	}
	<-time.After(life)
	dying.Store(true)
	c.killed = time.Now()
	e.kill(c.t)
	all.Wait()
	return int(right.Load())
}

// watch asks for something and looks at what comes. Answers that break off are to be
// expected of an edge that is dying, and of an object of which the rest cannot be had
// any more, as the origin has another one by now.
func (c *killCrowd) watch(e *cacheEdge, dying *atomic.Bool) bool {
	it := &c.origin.items[rand.IntN(len(c.origin.items))]
	var fields []string
	if from := rand.Int64N(4 * it.size); from < it.size { // a quarter are ranges
		fields = []string{"Range", fmt.Sprintf("bytes=%d-%d", from, from+rand.Int64N(1<<20))}
	}
	a := e.get(c.t.Context(), it.path, fields...)
	if a.err != nil {
		if !dying.Load() && !c.origin.outdated(it, a) {
			c.t.Errorf("%s %v: %d, %d bytes, %v", it.path, fields, a.status, len(a.body), a.err)
		}
		return false
	}
	version, why := c.origin.wrong(it, a)
	if why != "" {
		c.t.Errorf("%s %v: %s (%q)", it.path, fields, why, a.header)
		return false
	}
	if a.status == http.StatusOK {
		c.finish(it, version, a)
	}
	return true
}

// finish notes that there is all of a version. What is noted already counts for as
// long as it is fresh: it was there before.
func (c *killCrowd) finish(it *shiftingItem, version int, a cacheAnswer) {
	age, err := strconv.Atoi(a.header.Get("Age"))
	if err != nil && *cacheSubject == "weir" {
		c.t.Errorf("%s: Age %q", it.path, a.header.Get("Age"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.finished[it]; !ok || time.Now().After(was.fresh) {
		c.finished[it] = finishedItem{version, time.Now(), a.asked.Add(it.life - time.Duration(age+1)*time.Second)}
	}
}

// remembered asks for what must be there, and only if it is there: the origin shall not
// help. It returns how many those are.
func (c *killCrowd) remembered(e *cacheEdge) (n int) {
	c.t.Helper()
	deadline := time.Now().Add(remembering)
	for it, was := range c.finished {
		if c.killed.Sub(was.at) <= settled {
			continue
		}
		for time.Until(was.fresh) > time.Second { // what is stale need not be there
			a := e.get(c.t.Context(), it.path, "Cache-Control", "only-if-cached")
			version, why := c.origin.wrong(it, a)
			if a.err == nil && why == "" && a.hit() {
				if version < was.version {
					c.t.Errorf("%s: version %d is back, and %d was there", it.path, version, was.version)
				}
				n++
				break
			}
			if a.status != http.StatusGatewayTimeout || time.Now().After(deadline) {
				c.t.Errorf("%s, finished %v before the kill, is no hit: %d %s %v %q", it.path, c.killed.Sub(was.at), a.status, why, a.err, a.header)
				break
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	return n
}
