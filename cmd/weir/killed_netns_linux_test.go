package main

import (
	"testing"
	"time"
)

// TestOriginsAreKilled: of two origins one is killed, or stops, or is cut off, over and
// over; viewers of all kinds go on. With -originkills 20 there are as many viewers as the
// promise speaks of, and it is strict about time.
func TestOriginsAreKilled(t *testing.T) {
	t.Parallel() // it mostly waits
	c, slow := crowding{splitTCP: 4, splitUDP: 2, relayTCP: 3, relayUDP: 3, stored: 6, downloads: 4, players: 4, from: 3, size: 3 << 20}, 3*time.Second
	if *originKills > 2 {
		c, slow = crowding{splitTCP: 40, splitUDP: 10, relayTCP: 25, relayUDP: 25, stored: 20, downloads: 20, players: 20, from: 1, size: 5 << 20}, 0
	}
	r := newRig(t, c)
	for i := range *originKills {
		r.bears(killed, i%2, slow)
	}
	for i := range max(1, *originKills/5) {
		r.bears(parted, i%2, slow)
		r.bears(stopped, (i+1)%2, slow)
	}
}

// bears has an origin fail and fails the test where viewers notice too much. The machine
// may be slow, and what it takes for longer counts for no more than that.
func (r *rig) bears(f fault, i int, slow time.Duration) {
	r.t.Helper()
	figures := r.suffer(f, i)
	for kind, n := range figures {
		n.most("without a packet", n.silence, f.silence+slow)
		n.most("without a picture", n.picture, f.silence+slow+gopTime)
		n.most("stood still", n.stalled, slow)
		n.within("content stepped back by", n.back)
		n.within("content stepped forward by", n.forward)
		n.within("content is away from where PLAY says by", n.offAgain)
		if slow == 0 { // else the silence may be the machine's
			n.most("between what two reports of an origin say of the time", n.step, reportStep)
			if n.broken > 0 {
				n.wrong("%d times pictures went on with no key frame", n.broken)
			}
		}
		if len(n.problems) > 0 {
			r.t.Errorf("%s: %s: %d problems", f.name, kind, len(n.problems))
		}
	}
	r.t.Logf("%s of %s\n%s", f.name, r.origins[i].name, table(figures))
}
