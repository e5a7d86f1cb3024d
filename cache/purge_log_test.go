package cache

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPurgeRepeated: the same again and again takes no room.
func TestPurgeRepeated(t *testing.T) {
	var l purgeLog
	now := time.Now()
	for range 1000 {
		l.add(purge{URL: "/live/a.m3u8"}, now)
	}
	l.add(purge{Prefix: "/live/", Soft: true}, now)
	if len(l.purges) != 2 { // the soft one does not do what the hard one does
		t.Errorf("%d purges: %+v", len(l.purges), l.purges)
	}
	l.add(purge{Prefix: "/live/"}, now)
	if len(l.purges) != 1 || l.purges[0].number != 1002 {
		t.Errorf("%d purges: %+v", len(l.purges), l.purges)
	}
	if b := l.message(1, now.Add(2*purgeTold)); len(b) != 9 {
		t.Errorf("what is over is told: %q", b)
	}
}

func TestPurgeFits(t *testing.T) {
	long := strings.Repeat("é", 300)
	f := func(in, want purge) {
		t.Helper()
		if got := in.fit(); got != want {
			t.Errorf("fit(%+v) = %+v, want %+v", in, got, want)
		}
	}
	f(purge{URL: "/a?b", Soft: true}, purge{URL: "/a?b", Soft: true})
	f(purge{URL: "/a?" + long, Soft: true}, purge{Prefix: "/a", Soft: true})
	f(purge{URL: "/" + long}, purge{Prefix: "/" + long[:398]})
	f(purge{Prefix: "/a" + long}, purge{Prefix: "/a" + long[:398]})
}

// FuzzPurgeLog: whatever is purged, the message fits, and who reads it purges all
// of it.
func FuzzPurgeLog(f *testing.F) {
	f.Add("/a /b /c?d +t -/e", uint8(40))
	f.Add("/ä/b /ö/c /ä/d?x", uint8(200))
	f.Fuzz(func(t *testing.T, words string, times uint8) {
		if len(words) > 500 {
			return // slow
		}
		var l purgeLog
		var all []purge
		now := time.Now()
		for i := range int(times % 64) {
			for w := range strings.FieldsSeq(strings.ToValidUTF8(words, "")) {
				p := purge{Soft: i%2 == 0}
				if w = fmt.Sprintf("%s%d", w, i); w[0] == '/' {
					p.URL = w
				} else if w[0] == '-' {
					p.Prefix = "/" + w
				} else {
					p.Tag = w[:min(len(w), maxTag)]
				}
				all = append(all, p)
				l.add(p, now)
			}
		}
		b := l.message(1, now)
		_, told, ok := decodePurges(b)
		if !ok {
			t.Fatalf("unreadable: %q", b)
		}
		var got []purge
		for _, n := range told {
			got = append(got, n.purge)
		}
		for _, p := range all {
			if !covered(p, got) {
				t.Fatalf("%+v is not told: %+v", p, got)
			}
		}
	})
}
