package passthrough

import (
	"net/http"
	"slices"
	"time"
)

const (
	// missRate and missShare bound how many requests are asked of a second origin
	// because the first has not what does not exist, or says nothing: so many in a
	// second, and that part of all requests for streams. What is found costs
	// nothing. Too little lets viewers see a 404 while one origin lags behind, too
	// much lets somebody who invents names ask two origins with one request, and
	// origins that are slow because they are busy become busier.
	missRate  = 10.0
	missShare = 0.1
	missBurst = 20.0
)

// A budget is what a pool may spend on asking twice. The streamMemory's lock
// guards it.
type budget struct {
	left float64
	at   time.Time
}

// refill adds what time has brought.
func (u *budget) refill(now time.Time) {
	u.left = min(missBurst, u.left+missRate*max(0, now.Sub(u.at).Seconds()))
	u.at = now
}

// of returns a pool's budget, which is full at first; mu is held.
func (*streamMemory) of(p *pool, now time.Time) *budget {
	u := &p.budget
	if u.at.IsZero() {
		u.left, u.at = missBurst, now
	}
	u.refill(now)
	return u
}

// earn adds a request's share.
func (m *streamMemory) earn(p *pool, now time.Time) { m.give(p, missShare, now) }

// give adds to a pool's budget.
func (m *streamMemory) give(p *pool, n float64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.of(p, now)
	u.left = min(missBurst, u.left+n)
}

// spend takes one from a pool's budget.
func (m *streamMemory) spend(p *pool, now time.Time) (ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.of(p, now)
	if ok = u.left >= 1; ok {
		u.left--
	}
	return ok
}

// missed reports whether an origin says that it does not have what it was asked
// for.
func (b *Balancer) missed(res *http.Response) bool {
	return res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone
}

// lookElsewhere asks one other origin for what o does not have, if there may be
// such a thing: origins lag behind each other, and one that has just started has
// nothing of the past. If the other does not have it either, what o said counts.
// That an origin lacks something is not held against it.
func (t *trip) lookElsewhere(o *origin, res *http.Response, origins []*origin) (*origin, *http.Response) {
	s, m, now := t.stream, t.b.memory, time.Now()
	others := t.unasked(t.b.usable(origins), 1)
	if len(others) == 0 || !m.knows(s.pool, s.path, now) || !m.spend(s.pool, now) {
		return o, res
	}
	m.sought.Add(1)
	found, err := t.aside(others[0])
	if err != nil {
		return o, res
	}
	if found.StatusCode >= http.StatusBadRequest {
		found.Body.Close() //nolint:errcheck // nobody reads it
		return o, res
	}
	m.found.Add(1)
	m.give(s.pool, 1, time.Now())
	res.Body.Close() //nolint:errcheck // nobody reads it
	return others[0], found
}

// unasked returns the first most of origins that have not been asked yet.
func (t *trip) unasked(origins []*origin, most int) []*origin {
	fresh := slices.DeleteFunc(slices.Clone(origins), func(o *origin) bool { return slices.Contains(t.asked, o) })
	return fresh[:min(most, len(fresh))]
}

// aside asks an origin while there is an answer already: nobody waits for it
// longer than for a dial, unless the answer may be held back on purpose.
func (t *trip) aside(o *origin) (*http.Response, error) {
	t.wait = wait{most: t.b.timeout}
	if t.stream.blocks {
		t.wait.most = patience
	}
	return t.ask(o)
}
