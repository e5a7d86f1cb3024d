package admission

import (
	"net/netip"
	"sync"
	"time"

	"weir/proxy"
)

// connections counts those that are open, in all and of each client.
type connections struct {
	all, each int // 0 for no limit
	spared    *spared

	mu   sync.Mutex
	open int
	of   map[netip.Addr]int // clients with any; not the spared ones
}

// newConnections limits connections to all together and to each of one client.
// For the spared there is only the limit of all.
func newConnections(all, each int, spared *spared) *connections {
	return &connections{all: all, each: each, spared: spared, of: map[netip.Addr]int{}}
}

// enter counts a connection until leave is called; calling that again does
// nothing.
func (c *connections) enter(a netip.Addr) (leave func(), err error) {
	who := client(a)
	counted := c.each > 0 && !c.spared.has(a)
	if err := c.add(who, counted); err != nil {
		return nil, err
	}
	var once sync.Once
	return func() { once.Do(func() { c.remove(who, counted) }) }, nil
}

func (c *connections) add(who netip.Addr, counted bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all > 0 && c.open >= c.all {
		return later(proxy.Full, "too many connections", 2*time.Second, 10*time.Second)
	}
	if counted {
		n := c.of[who]
		if n >= c.each {
			return later(proxy.TooMany, "too many connections of this address", 2*time.Second, 10*time.Second)
		}
		c.of[who] = n + 1
	}
	c.open++
	return nil
}

func (c *connections) remove(who netip.Addr, counted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if !counted {
		return
	}
	if c.of[who]--; c.of[who] == 0 {
		delete(c.of, who)
	}
}

// len is how many are open, and how many clients they are counted for.
func (c *connections) len() (open, clients int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, len(c.of)
}
