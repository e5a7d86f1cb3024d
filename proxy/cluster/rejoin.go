package cluster

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

const (
	// maxJoins is how many addresses are asked in a round, joinsAtOnce how many of
	// them at once: each may take ten seconds if nobody is there.
	maxJoins    = 64
	joinsAtOnce = 8
	// eagerTries is in how many rounds a node is looked for that went without a word,
	// before only every lazyRound-th is for it.
	eagerTries, lazyRound = 60, 10
	// lookUp is how long one look-up of a name may take.
	lookUp = 3 * time.Second
)

// rejoin asks the seeds, and nodes that went without a word, until ctx is done.
// Memberlist asks nobody twice: neither a seed that was not up at the start, nor the
// other half of a network that was broken for longer than it takes to call a node dead.
func (c *Cluster) rejoin(ctx context.Context, list *memberlist.Memberlist) {
	wait := c.tuning.rejoin / 20
	for {
		if c.join(ctx, list); c.alive.Load() > 1 {
			wait = c.tuning.rejoin
		} else {
			wait = min(2*wait, c.tuning.rejoin)
		}
		jitter := time.Duration(rand.Int64N(int64(wait/5)*2+1)) - wait/5
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait + jitter):
		}
	}
}

// join asks all that are missing.
func (c *Cluster) join(ctx context.Context, list *memberlist.Memberlist) {
	tokens := make(chan struct{}, joinsAtOnce)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, addr := range c.missing(c.seeds(ctx)) {
		select {
		case <-ctx.Done():
			return
		case tokens <- struct{}{}:
		}
		wg.Go(func() {
			c.ask(list, addr)
			<-tokens
		})
	}
}

func (c *Cluster) ask(list *memberlist.Memberlist, addr netip.AddrPort) {
	if _, err := list.Join([]string{addr.String()}); err != nil {
		return // memberlist has said why, for debugging
	}
	if !c.joined.Swap(true) {
		c.log.Info("joined", zap.Stringer("by", addr))
	}
}

// missing is which of the seeds, and of the nodes that went without a word, are not
// among those alive.
func (c *Cluster) missing(seeds []netip.AddrPort) []netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	there := map[netip.AddrPort]bool{c.transport.advertise: true}
	var gone []netip.AddrPort
	for _, m := range c.members {
		if !m.left {
			there[m.gossip] = true
		} else if !m.bye {
			if m.tries++; m.tries <= eagerTries || m.tries%lazyRound == 0 {
				gone = append(gone, m.gossip)
			}
		}
	}
	rand.Shuffle(len(gone), func(i, j int) { gone[i], gone[j] = gone[j], gone[i] })
	var all []netip.AddrPort
	for _, a := range append(seeds, gone...) {
		if !there[a] && len(all) < maxJoins {
			there[a] = true
			all = append(all, a)
		}
	}
	return all
}

// seeds are the addresses of -cluster.join as names resolve now.
func (c *Cluster) seeds(ctx context.Context) (all []netip.AddrPort) {
	for _, s := range c.o.Join {
		addrs, err := resolve(ctx, s)
		c.unresolved(s, err)
		all = append(all, addrs...)
	}
	return all
}

// unresolved says once that a seed's name has no address, and once that it is over.
func (c *Cluster) unresolved(s string, err error) {
	c.mu.Lock()
	was := slices.Contains(c.lost, s)
	if err != nil && !was {
		c.lost = append(c.lost, s)
	} else if err == nil && was {
		c.lost = slices.DeleteFunc(c.lost, func(x string) bool { return x == s })
	}
	c.mu.Unlock()
	switch {
	case err != nil && !was:
		c.log.Warn("node to join not found, asking on", zap.String("join", s), zap.Error(err))
	case err == nil && was:
		c.log.Info("node to join found", zap.String("join", s))
	}
}

func resolve(ctx context.Context, s string) (all []netip.AddrPort, err error) {
	host, port, err := seed(s)
	if err != nil {
		return nil, err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr.Unmap(), port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookUp)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for _, a := range addrs {
		all = append(all, netip.AddrPortFrom(a.Unmap(), port))
	}
	return all, err
}
