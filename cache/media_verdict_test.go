package cache

import (
	"net/http"
	"testing"
	"time"
)

// saidFresh is what judge says of an answer with this lifetime.
func saidFresh(fresh time.Duration) verdict {
	return verdict{Store: true, Fresh: fresh, Explicit: true, SWR: -1, SIE: -1}
}

var (
	nothingSaid = verdict{Store: true, SWR: -1, SIE: -1}
	noLifetime  = verdict{Why: "no lifetime", SWR: -1, SIE: -1}
	noCache     = verdict{Store: true, NoCache: true, SWR: -1, SIE: -1}
	noStore     = verdict{Why: "no-store", SWR: -1, SIE: -1}
	mustAfter5s = verdict{Store: true, Fresh: 5 * time.Second, Explicit: true, Must: true, SWR: -1, SIE: -1}
)

func livePL(target time.Duration) *manifest {
	return &manifest{Class: livePlaylist, Target: target, Blocks: true}
}

func TestMediaVerdictFresh(t *testing.T) {
	f := func(c class, m *manifest, v verdict, blocked, live bool, target, want time.Duration) {
		t.Helper()
		got := mediaVerdict(c, m, http.StatusOK, v, blocked, live, target)
		if !got.Store || got.Why != "" {
			t.Errorf("class %d, %+v: not stored: %q", c, v, got.Why)
		}
		if got.Fresh != want {
			t.Errorf("class %d, %+v: fresh for %v, want %v", c, v, got.Fresh, want)
		}
	}
	s := time.Second
	playlist := func(m *manifest, v verdict, blocked bool, want time.Duration) {
		t.Helper()
		f(livePlaylist, m, v, blocked, false, 0, want)
	}
	// a live playlist, asked for plainly
	playlist(livePL(4*s), nothingSaid, false, 2*s)
	playlist(livePL(10*s), nothingSaid, false, 3*s)
	playlist(livePL(s/4), nothingSaid, false, s/4)
	playlist(livePL(0), nothingSaid, false, 3*s)
	playlist(livePL(4*s), saidFresh(s), false, s)
	playlist(livePL(4*s), saidFresh(60*s), false, 2*s)
	playlist(livePL(4*s), saidFresh(0), false, 2*s)
	playlist(livePL(4*s), noCache, false, 2*s)
	playlist(livePL(4*s), noLifetime, false, 2*s)

	// asked for by number
	playlist(livePL(4*s), noCache, true, 24*s)
	playlist(livePL(4*s), noLifetime, true, 24*s)
	playlist(livePL(4*s), saidFresh(5*s), true, 5*s)
	playlist(&manifest{Class: livePlaylist, Target: 4 * s}, noCache, true, 2*s) // of an origin that does not block

	// other playlists
	ended, several := &manifest{Class: storedPlaylist, Target: 4 * s}, &manifest{Class: multivariant}
	playlist(ended, nothingSaid, false, time.Hour)
	playlist(ended, saidFresh(5*s), false, 5*s)
	playlist(ended, noCache, false, 0)
	playlist(several, nothingSaid, false, 10*s)
	playlist(several, saidFresh(30*s), false, 30*s)
	playlist(several, noCache, false, 0)

	mpd := func(update, target time.Duration, v verdict, want time.Duration) {
		t.Helper()
		f(liveMPD, &manifest{Class: liveMPD, Update: update, Target: target}, v, false, false, 0, want)
	}
	mpd(4*s, 2*s, nothingSaid, s)
	mpd(4*s, 0, nothingSaid, 2*s)
	mpd(s/2, 2*s, nothingSaid, s/2)
	mpd(0, 2*s, nothingSaid, s)
	mpd(4*s, 4*s, saidFresh(s), s)
	mpd(4*s, 4*s, noCache, 2*s)
	f(liveMPD, &manifest{Class: storedMPD}, nothingSaid, false, false, 0, time.Hour)

	f(segment, nil, nothingSaid, false, true, 20*s, 120*s)
	f(segment, nil, nothingSaid, false, true, 2*s, 60*s)
	f(segment, nil, nothingSaid, false, true, 0, 60*s)
	f(segment, nil, noLifetime, false, false, 2*s, 24*time.Hour)
	f(segment, nil, saidFresh(9*s), false, true, 2*s, 9*s)
	f(segment, nil, noCache, false, true, 2*s, 0)
	f(other, nil, saidFresh(9*s), false, false, 0, 9*s)
}

func TestMediaVerdictForbidden(t *testing.T) {
	f := func(c class, m *manifest, status int, v verdict, blocked bool) {
		t.Helper()
		if got := mediaVerdict(c, m, status, v, blocked, true, time.Second); got.Store {
			t.Errorf("class %d, status %d, %+v: stored", c, status, v)
		}
	}
	private := verdict{Why: "private", SWR: -1, SIE: -1}
	f(livePlaylist, livePL(time.Second), 200, noStore, false)
	f(livePlaylist, livePL(time.Second), 200, private, true)
	f(livePlaylist, nil, 200, noLifetime, false) // is none
	f(livePlaylist, nil, 404, noStore, false)
	f(livePlaylist, nil, 302, noLifetime, false)
	f(livePlaylist, nil, 400, noLifetime, false) // not of a blocking request
	f(livePlaylist, nil, 503, noLifetime, true)
	f(segment, nil, 200, noStore, false)
	f(segment, nil, 403, noLifetime, false)
	f(other, nil, 200, noLifetime, false)
	f(other, nil, 404, noLifetime, false)
	f(secret, nil, 200, saidFresh(time.Hour), false)
	f(secret, nil, 404, noLifetime, false)

	public := saidFresh(time.Hour)
	public.Shared = true
	if v := mediaVerdict(secret, nil, 200, public, false, false, 0); !v.Store {
		t.Error("key that is explicitly public: not stored")
	}
}

func TestMediaVerdictStale(t *testing.T) {
	f := func(m *manifest, v verdict, blocked bool, swr, sie time.Duration) {
		t.Helper()
		c := segment
		if m != nil {
			c = m.Class
		}
		got := mediaVerdict(c, m, 200, v, blocked, true, 4*time.Second)
		if got.SWR != swr || got.SIE != sie {
			t.Errorf("class %d, %+v: swr %v, sie %v, want %v, %v", c, v, got.SWR, got.SIE, swr, sie)
		}
	}
	s := time.Second
	f(livePL(4*s), nothingSaid, false, 4*s, 12*s)
	f(livePL(4*s), noCache, false, 4*s, 12*s)
	f(livePL(4*s), mustAfter5s, false, 4*s, 12*s)
	f(livePL(4*s), noCache, true, 0, 0)
	own := saidFresh(5 * s)
	own.SWR, own.SIE = s, 0
	f(livePL(4*s), own, false, s, 0)
	f(&manifest{Class: multivariant}, nothingSaid, false, 30*s, 24*time.Hour)
	f(&manifest{Class: multivariant}, mustAfter5s, false, -1, -1)
	f(&manifest{Class: storedPlaylist}, nothingSaid, false, -1, 24*time.Hour)
	f(&manifest{Class: storedPlaylist}, mustAfter5s, false, -1, -1)
	f(&manifest{Class: storedMPD}, noCache, false, -1, -1)
	f(&manifest{Class: liveMPD, Update: 2 * s}, noCache, false, -1, 6*s)
	f(&manifest{Class: liveMPD}, nothingSaid, false, -1, 3*s)
	f(nil, nothingSaid, false, -1, ever)
	f(nil, mustAfter5s, false, -1, -1)
	f(nil, own, false, s, 0)
}

func TestMediaVerdictNegative(t *testing.T) {
	f := func(c class, status int, v verdict, blocked, live bool, target, want time.Duration) {
		t.Helper()
		got := mediaVerdict(c, nil, status, v, blocked, live, target)
		if !got.Store || got.Fresh != want || got.SWR != 0 || got.SIE != 0 || got.Immutable {
			t.Errorf("class %d, status %d, %+v: %+v, want fresh for %v", c, status, v, got, want)
		}
	}
	s := time.Second
	f(livePlaylist, 404, noLifetime, false, false, 0, s)
	f(livePlaylist, 502, noLifetime, false, false, 0, s)
	f(livePlaylist, 404, saidFresh(60*s), false, false, 0, s)
	f(livePlaylist, 404, saidFresh(s/2), false, false, 0, s/2)
	f(livePlaylist, 404, saidFresh(0), false, false, 0, 0)
	f(livePlaylist, 404, noLifetime, true, false, 0, s)
	f(livePlaylist, 400, noLifetime, true, false, 0, 250*time.Millisecond)
	f(liveMPD, 404, nothingSaid, false, false, 0, s)
	f(multivariant, 404, nothingSaid, false, false, 0, s)
	f(storedPlaylist, 410, nothingSaid, false, false, 0, 5*s)
	f(storedMPD, 500, noLifetime, false, false, 0, 5*s)
	f(segment, 404, nothingSaid, false, true, 2*s, s/2)
	f(segment, 404, nothingSaid, false, true, 10*s, s)
	f(segment, 404, nothingSaid, false, true, 0, s)
	f(segment, 404, nothingSaid, false, false, 2*s, 5*s)
	f(segment, 404, nothingSaid, false, false, 0, s) // perhaps live: nobody knows its playlist
}

func TestMediaVerdictImmutable(t *testing.T) {
	if v := mediaVerdict(segment, nil, 206, saidFresh(time.Hour), false, true, time.Second); !v.Immutable {
		t.Error("segment: not immutable")
	}
	if v := mediaVerdict(segment, nil, 200, noCache, false, true, time.Second); v.Immutable {
		t.Error("segment with no-cache: immutable")
	}
	if v := mediaVerdict(livePlaylist, livePL(time.Second), 200, noCache, false, true, 0); v.Immutable {
		t.Error("live playlist: immutable")
	}
}
