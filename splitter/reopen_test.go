package splitter

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// several is an upstream of some origins, called 0, 1 and so on: who is asked is the first
// that is not down, nor to be avoided.
type several struct {
	proxy.Upstream
	origins []*fakeOrigin
	avoided [][]string // by each dial
}

func newSeveral(n int) *several {
	s := &several{}
	for range n {
		s.origins = append(s.origins, newFakeOrigin())
	}
	return s
}

func (s *several) DialRTSP(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
	s.avoided = append(s.avoided, w.Avoid)
	for i, o := range s.origins {
		if name := strconv.Itoa(i); !o.isDown() && !slices.Contains(w.Avoid, name) {
			link, err := o.dial(ctx, w)
			link.Origin = name
			return link, err
		}
	}
	return nil, &proxy.Refusal{Reason: proxy.OriginDown}
}

// Others is as the balancer's.
func (s *several) Others(_ string, than ...string) bool {
	for i, o := range s.origins {
		if !o.isDown() && !slices.Contains(than, strconv.Itoa(i)) {
			return true
		}
	}
	return false
}

func (o *fakeOrigin) isDown() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down
}

// A feed goes on with the first source that will do: who has another stream now is passed
// over, and who does not answer soon is not waited for while there is yet another.
func TestReopen(t *testing.T) {
	f := func(what, want string, after time.Duration, change func(o []*fakeOrigin)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			up := newSeveral(4)
			f := upFeed(t, Options{Timeout: 5 * time.Second}, up)
			f.pull.again, f.outage.origin = true, "0"
			up.origins[0].down = true
			f.join(&session{})
			change(up.origins)
			start := time.Now()
			pl, got := f.reopen(t.Context()), ""
			if pl != nil {
				got = pl.link.Origin
				pl.close()
			}
			if took := time.Since(start); got != want || took < after || took > after+redialEvery*3/2 {
				t.Errorf("%s: goes on with %q after %v, want %q after %v; avoided %q", what, got, took, want, after, up.avoided)
			}
			for _, o := range up.origins {
				o.close()
			}
		})
	}
	another := strings.Replace(avSDP, "H264", "H265", 1)
	f("all are well", "1", 0, func([]*fakeOrigin) {})
	f("the next has another stream", "2", 0, func(o []*fakeOrigin) { o[1].sdp = another })
	f("so have two", "3", 0, func(o []*fakeOrigin) { o[1].sdp, o[2].sdp = another, another })
	f("so have all", "", 0, func(o []*fakeOrigin) { o[1].sdp, o[2].sdp, o[3].sdp = another, another, another })
	f("so has the next, and the others are dead", "", 0, func(o []*fakeOrigin) { o[1].sdp, o[2].down, o[3].down = another, true, true })
	f("the next is mute", "2", hastily, func(o []*fakeOrigin) { o[1].codes["DESCRIBE"] = -1 })
	const slow = 700 * time.Millisecond // each of OPTIONS, DESCRIBE, two SETUP and PLAY
	f("the others are slow", "1", 2*hastily+5*slow, func(o []*fakeOrigin) { o[1].delay, o[2].delay, o[3].delay = slow, slow, slow })
}
