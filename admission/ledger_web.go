package admission

import "time"

// The list of idle viewers over HTTP begins and ends at ledger.idle; the one seen
// last is first. All here but rest needs the ledger's mutex.

// wake notes a request of a viewer who is in.
func (l *ledger) wake(p *place) {
	if p.open++; p.open > 1 {
		return
	}
	p.unlink()
	if p.download {
		l.set(p, l.aside(&p.identity))
		l.changed()
	}
}

// rest notes that a request has been answered. One too many does no harm: the
// viewer is forgotten earlier.
func (l *ledger) rest(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.gone || p.open == 0 {
		return
	}
	if p.failed > 0 { // this one or another that is open: which, makes no difference in the end
		p.failed--
	} else {
		p.kept = true
	}
	if p.open--; p.open > 0 {
		return
	}
	if !p.kept { // who asks for what is not there takes no place from others
		l.remove(p)
		return
	}
	if p.download { // it is over: the next one may be slower
		l.set(p, 0)
		p.meter = meter{}
		l.changed()
	}
	p.seen = time.Now()
	p.prev, p.next = &l.idle, l.idle.next
	p.prev.next, p.next.prev = p, p
}

func (p *place) unlink() {
	if p.next != nil {
		p.prev.next, p.next.prev = p.next, p.prev
		p.prev, p.next = nil, nil
	}
}

// forget takes out those who have not been seen for too long.
func (l *ledger) forget(now time.Time) {
	for p := l.idle.prev; p != &l.idle && now.Sub(p.seen) >= l.o.Window; p = l.idle.prev {
		l.remove(p)
	}
}

// forgetOldest is false if there is nobody to be forgotten.
func (l *ledger) forgetOldest() bool {
	if l.idle.prev == &l.idle {
		return false
	}
	l.remove(l.idle.prev)
	return true
}
