package admission

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.uber.org/zap"

	"weir/proxy"
)

const (
	watchFor  = time.Minute    // within which offences add up
	firstBan  = time.Minute    // each further one is twice as long
	longest   = time.Hour      // of all bans
	forgetBan = 24 * time.Hour // without another: the next is a first one again
	banStep   = 10 * time.Second
	maxBans   = 1 << 16 // and as many addresses that are watched: 26 MB together at most
)

// client is the unit in which addresses are counted: one of IPv4, or a /64 of
// IPv6, as any host there has all of it. 4-in-6 is IPv4; zones are dropped.
func client(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	p, _ := a.WithZone("").Prefix(64) // fails only for more bits than there are
	return p.Addr()
}

// bans shut out addresses that offend too often. Nil bans nobody.
//
// Those who are or were banned have a table apart from those who are watched:
// otherwise whoever has many addresses could wash a ban away with them.
type bans struct {
	limit  float64
	spared *spared
	log    *zap.Logger
	// What check returns, by how long the ban still lasts; shared, so never to
	// be changed.
	refusals [longest / banStep]proxy.Refusal

	mu      sync.Mutex
	watched *simplelru.LRU[netip.Addr, score]
	banned  *simplelru.LRU[netip.Addr, ban]
	changed bool // what is to be told of it

	hints atomic.Pointer[hints] // what other edges have told; never nil
}

// A ban stays in its table after its end, for the length of the next.
type ban struct {
	until  time.Time
	times  int
	hinted bool // it would not have come about but for another edge's word
}

// newBans bans after limit offences within a minute, and nobody if it is zero; never
// the spared.
func newBans(limit int, spared *spared, log *zap.Logger) *bans {
	if limit == 0 {
		return nil
	}
	b := &bans{limit: float64(limit), spared: spared, log: log}
	b.hints.Store(&hints{})
	why := errors.New("address is banned")
	for i := range b.refusals {
		b.refusals[i] = proxy.Refusal{Reason: proxy.Banned, RetryAfter: time.Duration(i+1) * banStep, Err: why}
	}
	b.watched, _ = simplelru.NewLRU[netip.Addr, score](maxBans, nil) // fails only for a size of 0
	b.banned, _ = simplelru.NewLRU[netip.Addr, ban](maxBans, nil)
	return b
}

// check is nil for an address that is not banned. It allocates nothing.
func (b *bans) check(a netip.Addr, now time.Time) error {
	if b == nil {
		return nil
	}
	left := b.left(client(a), now)
	if left <= 0 || b.spared.has(a) { // somebody else in its /64 may be banned
		return nil
	}
	i := min(int((left-1)/banStep), len(b.refusals)-1)
	return &b.refusals[i]
}

// left is how long the ban of c still lasts.
func (b *bans) left(c netip.Addr, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ban, ok := b.banned.Peek(c); ok {
		return ban.until.Sub(now)
	}
	return 0
}

// offend counts bad credentials and malformed requests; other reasons for a no
// are not the viewer's fault. What is done while banned does not count: it comes
// over connections that were open before.
func (b *bans) offend(a netip.Addr, r proxy.Reason, now time.Time) {
	if b == nil || r != proxy.Unauthorized && r != proxy.BadRequest || !a.IsValid() || b.spared.has(a) {
		return
	}
	c := client(a)
	ban := b.count(c, now)
	if ban == nil {
		return
	}
	where := netip.PrefixFrom(c, min(c.BitLen(), 64))
	b.log.Info("address banned", zap.Stringer("address", where), zap.Duration("for", ban.until.Sub(now)),
		zap.Int("times", ban.times), zap.String("last", string(r)), zap.Int("elsewhere", b.elsewhere(c, now)))
}

// count counts an offence, and returns the ban if that was the last straw. Of who
// is banned elsewhere half as much is enough.
func (b *bans) count(c netip.Addr, now time.Time) *ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, _ := b.banned.Peek(c)
	if now.Before(old.until) {
		return nil
	}
	s, _ := b.watched.Peek(c)
	s = s.offence(now)
	own := s.sum(now) >= b.limit
	if !own && (s.sum(now) < b.limit/2 || b.elsewhere(c, now) == 0) {
		b.watched.Add(c, s)
		return nil
	}
	b.watched.Remove(c)
	next := old.next(now)
	next.hinted = !own
	b.banned.Add(c, next)
	b.changed = b.changed || own
	return &next
}

// next is the ban after b, which is the zero ban if there was none.
func (b ban) next(now time.Time) ban {
	if now.Sub(b.until) >= forgetBan {
		b.times = 0
	}
	d := longest
	if b.times < 6 { // 64 minutes are more than the longest
		d = firstBan << b.times
	}
	return ban{until: now.Add(d), times: b.times + 1}
}

// len is how many addresses are banned now, and how many others are remembered
// for what they did.
func (b *bans) len() (watched, banned int) {
	if b == nil {
		return 0, 0
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ban := range b.banned.Values() {
		if now.Before(ban.until) {
			banned++
		}
	}
	return b.watched.Len() + b.banned.Len() - banned, banned
}

// A score counts offences. It decays over a minute: those of the minute before
// the one that start begins count less and less while it passes. The first
// minute counts in full, so that limit offences within it are a ban however
// they are spread.
type score struct {
	start       time.Time
	now, before int32
}

func (s score) offence(now time.Time) score {
	switch d := now.Sub(s.start); {
	case d >= 2*watchFor:
		s = score{start: now}
	case d >= watchFor:
		s = score{start: s.start.Add(watchFor), before: s.now}
	}
	s.now++
	return s
}

func (s score) sum(now time.Time) float64 {
	left := 1 - float64(now.Sub(s.start))/float64(watchFor)
	return float64(s.now) + float64(s.before)*max(left, 0)
}
