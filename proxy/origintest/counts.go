package origintest

import (
	"maps"
	"sync"
)

// Counts is what an origin saw. Those of now begin anew with each life, the
// others with New.
type Counts struct {
	Connections  int            // RTSP, in total
	Open         int            // RTSP, now
	Requests     map[string]int // by RTSP method
	HTTPRequests int
	Pulls        int            // PLAYs answered 200
	PullsOf      map[string]int // the same, by path
	Playing      int            // sessions that have been told to play, now; still so after the end of a stored stream
}

// Counts returns a snapshot.
func (o *Origin) Counts() Counts {
	c := o.seen.snapshot()
	if l := o.alive(); l != nil {
		c.Open = l.rtsp.open()
		c.Playing = int(l.signalling.playing.Load())
	}
	return c
}

type tally struct {
	mu sync.Mutex
	c  Counts
}

func (t *tally) connection() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.Connections++
}

func (t *tally) httpRequest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.HTTPRequests++
}

func (t *tally) request(method string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.c.Requests == nil {
		t.c.Requests = map[string]int{}
	}
	t.c.Requests[method]++
}

func (t *tally) pull(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.c.PullsOf == nil {
		t.c.PullsOf = map[string]int{}
	}
	t.c.Pulls++
	t.c.PullsOf[path]++
}

func (t *tally) snapshot() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.c
	c.Requests = maps.Clone(c.Requests)
	c.PullsOf = maps.Clone(c.PullsOf)
	return c
}
