package admission

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"weir/proxy"
)

// maxRates bounds how many clients have a bucket: 20 MB at most. Who is
// forgotten has a full one again, which matters only to who has more addresses.
const maxRates = 1 << 16

// rates limit how many viewers begin in a second, in all and of each client.
// Nil rates limit nothing.
type rates struct {
	each float64 // 0 for no limit

	mu      sync.Mutex    // both buckets are asked before either is taken from
	all     *rate.Limiter // nil for no limit
	clients *simplelru.LRU[netip.Addr, *rate.Limiter]
}

// newRates returns nil if neither Options.Rate nor Options.ClientRate is set.
func newRates(o *Options) *rates {
	if o.Rate <= 0 && o.ClientRate <= 0 {
		return nil
	}
	r := &rates{each: o.ClientRate}
	if o.Rate > 0 {
		r.all = bucket(o.Rate)
	}
	r.clients, _ = simplelru.NewLRU[netip.Addr, *rate.Limiter](maxRates, nil) // fails only for a size of 0
	return r
}

// bucket has room for what comes in a second.
func bucket(perSecond float64) *rate.Limiter {
	perSecond = min(perSecond, 1e9) // "Inf" is a number to package flag
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
}

// take counts a new viewer. Who is refused has taken nothing, and gets no
// bucket: a crowd outside does not drive out the memory of those inside.
func (r *rates) take(a netip.Addr, now time.Time) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := client(a)
	mine := r.of(c)
	if err := r.wait(mine, now); err != nil {
		return err
	}
	if mine == nil && r.each > 0 {
		mine = bucket(r.each)
		r.clients.Add(c, mine)
	}
	for _, l := range []*rate.Limiter{r.all, mine} {
		if l != nil {
			l.AllowN(now, 1)
		}
	}
	return nil
}

// full is what take would return, and takes nothing.
func (r *rates) full(a netip.Addr, now time.Time) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wait(r.of(client(a)), now)
}

// of is a client's bucket, nil for a full one. The caller holds mu.
func (r *rates) of(c netip.Addr) *rate.Limiter {
	l, _ := r.clients.Get(c)
	return l
}

func (r *rates) wait(mine *rate.Limiter, now time.Time) error {
	all, each := until(r.all, now), until(mine, now)
	wait, why := all, "too many viewers begin"
	if each > all {
		wait, why = each, "too many viewers of this address begin"
	}
	if wait <= 0 {
		return nil
	}
	// They come back spread over half of the time again, or they would be one herd.
	return &proxy.Refusal{Reason: proxy.TooFast, RetryAfter: wait + rand.N(wait/2+1),
		Err: fmt.Errorf("%s, next one in %v", why, wait)}
}

// until is how long there is no token in l.
func until(l *rate.Limiter, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	missing := 1 - l.TokensAt(now)
	return time.Duration(missing / float64(l.Limit()) * float64(time.Second))
}

// len is how many clients have a bucket.
func (r *rates) len() int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clients.Len()
}
