package passthrough

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"weir/proxy/udp"
)

// resting is how long a pair of ports is left alone after a session: what is still
// on its way to it is not for the next one.
const resting = 10 * time.Second

var errNoPorts = errors.New("no UDP ports left (-passthrough.udp)")

// ports gives out pairs of a range.
type ports struct {
	first int // even
	count int // of pairs

	mu    sync.Mutex
	until map[int]time.Time // by the even port: given out (zero) or resting until then
}

func newPorts(lo, hi int) *ports {
	lo += lo % 2
	return &ports{first: lo, count: (hi - lo + 1) / 2, until: map[int]time.Time{}}
}

// listen binds a pair on the address that the viewer has asked, so that media
// leaves from there. It begins anywhere in the range: ports that can be guessed
// can be hit.
func (p *ports) listen(at *net.TCPAddr) (*udp.Pair, error) {
	if p.count == 0 {
		return nil, errNoPorts
	}
	from := rand.IntN(p.count)
	for i := range p.count {
		port := p.first + 2*((from+i)%p.count)
		if !p.take(port) {
			continue
		}
		pair, err := udp.Listen(net.UDPAddr{IP: at.IP, Port: port, Zone: at.Zone})
		if err == nil {
			return pair, nil
		}
		p.give(port, time.Now()) // another program has it
	}
	return nil, errNoPorts
}

func (p *ports) take(port int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, known := p.until[port]
	if known && (until.IsZero() || time.Now().Before(until)) {
		return false
	}
	p.until[port] = time.Time{}
	return true
}

func (p *ports) give(port int, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until[port] = until
}

// giveBack closes a pair that has carried nothing: another may have it at once.
func (p *ports) giveBack(pair *udp.Pair) {
	port := pair.Port()
	pair.Close()
	p.give(port, time.Now())
}

// free closes a pair.
func (p *ports) free(pair *udp.Pair) {
	port := pair.Port()
	pair.Close()
	p.give(port, time.Now().Add(resting))
}

// inUse is how many pairs are given out.
func (p *ports) inUse() (n int) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, until := range p.until {
		if until.IsZero() {
			n++
		}
	}
	return n
}
