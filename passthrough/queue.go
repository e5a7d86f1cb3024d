package passthrough

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// maxMoves is how many sessions' moves are at work at once from one origin, and
	// to one: that which is left is not to die of those that come.
	maxMoves = 8
	// maxJitter is by how much a move waits at most before it joins the queue, when
	// many begin at once: else they would come in the order in which they were lost,
	// which is that in which their origin dropped them.
	maxJitter = 500 * time.Millisecond
)

// A queue has those who move wait for their turn, by the name of an origin.
type queue struct {
	mu    sync.Mutex
	lanes map[string]*lane
}

// A lane is the moves from, or to, one origin.
type lane struct {
	tokens chan struct{}
	users  int // who hold a token, or wait for one; queue.mu
}

// enter waits for a turn, which leave ends. It errs when ctx ends first.
func (q *queue) enter(ctx context.Context, name string) (leave func(), err error) {
	l, ahead := q.join(name)
	if ahead >= maxMoves {
		jitter := time.NewTimer(rand.N(min(maxJitter, time.Duration(ahead)*time.Millisecond)))
		defer jitter.Stop()
		select {
		case <-jitter.C:
		case <-ctx.Done():
		}
	}
	select {
	case l.tokens <- struct{}{}:
		return func() { <-l.tokens; q.part(name, l) }, nil
	case <-ctx.Done():
		q.part(name, l)
		return nil, ctx.Err()
	}
}

func (q *queue) join(name string) (l *lane, ahead int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l = q.lanes[name]; l == nil {
		l = &lane{tokens: make(chan struct{}, maxMoves)}
		q.lanes[name] = l
	}
	l.users++
	return l, l.users - 1
}

func (q *queue) part(name string, l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(q.lanes, name)
	}
}

// queue waits for a turn; release gives back all that were had.
func (m *move) queue(ctx context.Context, name string) error {
	leave, err := m.old.r.queue.enter(ctx, name)
	if err != nil {
		return &stay{staySlow, err}
	}
	m.leave = append(m.leave, leave)
	return nil
}

func (m *move) release() {
	for _, leave := range m.leave {
		leave()
	}
	m.leave = nil
}
