package admission

import (
	"context"
	"net/netip"
	"time"

	"weir/proxy"
)

// Edges tell each other whom they have banned. It is a hint and no more: an edge that
// has gone mad must not shut out the world. Who is banned elsewhere and nowhere else
// seen offending comes in as before; if he offends here too, half as much of it gets
// him banned. The spared are never banned, whatever is told.
const (
	bansTopic = "admission.bans"
	bansTTL   = 90 * time.Second
	bansAgain = 30 * time.Second // if there are any
	bansSoon  = 5 * time.Second  // after the last time, if there are others: who is attacked by many should not fill the gossip
	maxHints  = 1 << 16          // 8 MB at most, twice that while they are replaced; what more is told is not heard
)

// hints are the clients that other edges have banned. They are replaced, never
// changed.
type hints map[netip.Addr]hint

type hint struct {
	until time.Time // the last of their bans
	edges int
}

// elsewhere is how many other edges have banned a client.
func (b *bans) elsewhere(c netip.Addr, now time.Time) int {
	if h := (*b.hints.Load())[c]; now.Before(h.until) {
		return h.edges
	}
	return 0
}

// hinted is how many clients other edges have banned.
func (b *bans) hinted(now time.Time) (n int) {
	if b == nil {
		return 0
	}
	for _, h := range *b.hints.Load() {
		if now.Before(h.until) {
			n++
		}
	}
	return n
}

// share tells and listens once a second until ctx is done.
func (b *bans) share(ctx context.Context, peers proxy.Peers, boot uint64) {
	if b == nil {
		return
	}
	s := &banSharer{bans: b, peers: peers, boot: boot, heard: map[string]heardBans{}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		now := time.Now()
		s.tell(now)
		s.listen(now)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A banSharer is what share remembers; one goroutine's.
type banSharer struct {
	bans  *bans
	peers proxy.Peers
	boot  uint64
	at    time.Time // when it told last
	some  bool      // it told of any then
	heard map[string]heardBans
}

// heardBans are what a node told last. What is left of a ban is as of when it was
// heard: clocks need not agree.
type heardBans struct {
	body string
	at   time.Time
	bans []toldBan
}

func (s *banSharer) tell(now time.Time) {
	since := now.Sub(s.at)
	if !(s.bans.news() && since >= bansSoon || s.some && since >= bansAgain) {
		return
	}
	told := s.bans.told(now)
	s.peers.Tell(bansTopic, encodeBans(s.boot, told), bansTTL)
	s.at, s.some = now, len(told) > 0
}

func (b *bans) news() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// listen takes what is new, and forgets what is told no more. The peers bound how
// much that may be.
func (s *banSharer) listen(now time.Time) {
	all, fresh := map[string]heardBans{}, false
	for name, b := range s.peers.Told(bansTopic) {
		h := s.heard[name]
		if h.at.IsZero() || h.body != string(b) {
			fresh = true
			h = heardBans{body: string(b), at: now}
			if boot, told, ok := decodeBans(b); ok && boot != s.boot {
				h.bans = told
			}
		}
		all[name] = h
	}
	if fresh || len(all) != len(s.heard) {
		s.heard = all
		s.bans.hear(all)
	}
}

// hear makes the hints what has been heard.
func (b *bans) hear(all map[string]heardBans) {
	now := hints{}
	for _, h := range all {
		for _, t := range h.bans {
			old, known := now[t.client]
			if !known && len(now) == maxHints {
				continue
			}
			until := h.at.Add(time.Duration(t.left) * time.Second)
			if until.Before(old.until) {
				until = old.until
			}
			now[t.client] = hint{until, old.edges + 1}
		}
	}
	b.hints.Store(&now)
}
