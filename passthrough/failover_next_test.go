package passthrough

import (
	"testing"
	"testing/synctest"
	"time"
)

// often is between two packets.
const often = 40 * time.Millisecond

// onward has the first of four origins die under a player, the next ones being as
// bad is told, and returns for how long there was nothing, or when the connection
// ended.
func onward(t *testing.T, harm func(st *stage)) (gap time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := newStage(often, "one", "two", "three", "four")
		seated(t, st, func(s *seat) {
			s.takes(5 * time.Second)
			harm(st)
			st.origins[0].falls(dead)
			s.takes(20 * time.Second)
			gap = s.gap
			for _, a := range st.origins {
				if a.dieAt != "" && a.state() != dead {
					t.Errorf("%s has not died", a.name)
				}
			}
			if n := s.gate.Count().Admits; n != 1 {
				t.Errorf("%d places, want 1", n)
			}
		})
	})
	return gap
}

// TestFailoverNext: an origin dies, and the next is no better: one behind that takes
// over.
func TestFailoverNext(t *testing.T) {
	f := func(what string, most time.Duration, harm func(st *stage)) {
		t.Helper()
		got := onward(t, harm)
		t.Logf("%s: packets again after %v", what, got)
		if got > most {
			t.Errorf("%s: packets again after %v, want at most %v", what, got, most)
		}
	}
	f("all are well", often, func(*stage) {})
	for _, method := range []string{"DESCRIBE", "SETUP", "PLAY"} {
		f("the second dies of "+method, 2*often, func(st *stage) { st.origins[1].diesOf(method) })
		f("the second and the third die of "+method, 2*often, func(st *stage) {
			st.origins[1].diesOf(method)
			st.origins[2].diesOf(method)
		})
	}
	f("the second is dead", often, func(st *stage) { st.origins[1].falls(dead) })
	f("the second is frozen", hastyLimit+often, func(st *stage) { st.origins[1].falls(frozen) })
	f("the second and the third are frozen", 2*hastyLimit+often, func(st *stage) {
		st.origins[1].falls(frozen)
		st.origins[2].falls(frozen)
	})
	f("the others are slow", 2*hastyLimit+slowness+often, func(st *stage) {
		for _, a := range st.origins[1:] {
			a.falls(slow)
		}
	})
	f("the third is slow, the others dead", hastyLimit+slowness+often, func(st *stage) {
		st.origins[1].falls(frozen)
		st.origins[2].falls(slow)
		st.origins[3].falls(dead)
	})
}

// TestFailoverBack: the only other origin dies while it is asked, and the first one is back.
func TestFailoverBack(t *testing.T) {
	for _, method := range []string{"DESCRIBE", "SETUP", "PLAY"} {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(often, "one", "two")
			seated(t, st, func(s *seat) {
				s.takes(5 * time.Second)
				st.origins[1].diesOf(method)
				st.origins[0].falls(dead)
				st.origins[0].falls(well)
				s.takes(5 * time.Second)
				if s.gap > 2*often {
					t.Errorf("%s: packets again after %v", method, s.gap)
				}
			})
		})
	}
}

// TestFailoverAllGone: where no origin is left the viewer's connection ends, at once
// where that can be known at once, and one line of the log tells of it.
func TestFailoverAllGone(t *testing.T) {
	f := func(what, why string, least, most time.Duration, harm func(st *stage)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			st := newStage(often, "one", "two", "three", "four", "five")
			seated(t, st, func(s *seat) {
				s.takes(5 * time.Second)
				harm(st)
				st.origins[0].falls(dead)
				got := s.ends(why)
				t.Logf("%s: the connection ends after %v", what, got)
				if got < least || got > most {
					t.Errorf("%s: the connection ends after %v, want %v to %v", what, got, least, most)
				}
			})
		})
	}
	rest := func(do func(a *actor)) func(st *stage) {
		return func(st *stage) {
			for _, a := range st.origins[1:] {
				do(a)
			}
		}
	}
	f("dead", stayNoOrigin, 0, 0, rest(func(a *actor) { a.falls(dead) }))
	for _, method := range []string{"DESCRIBE", "SETUP", "PLAY"} {
		f("they die of "+method, stayRefused, 0, 0, rest(func(a *actor) { a.diesOf(method) }))
	}
	f("frozen", staySlow, moveLimit, moveLimit+farewell, rest(func(a *actor) { a.falls(frozen) }))
	f("dials do not come about", staySlow, 0, moveLimit+farewell, rest(func(a *actor) { a.falls(hole) }))
}

// TestFailoverFlaps: one of two origins is always dead, in turns, and the viewer has
// them all the time.
func TestFailoverFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(often, "one", "two")
		seated(t, st, func(s *seat) {
			s.takes(time.Second)
			for n := range 40 {
				st.origins[n%2].falls(dead)
				s.takes(time.Duration(1+n) * 10 * time.Millisecond) // at least one packet
				st.origins[n%2].falls(well)
			}
			s.takes(time.Second)
			t.Logf("at most %v without packets", s.gap)
			if s.gap > 2*often {
				t.Errorf("%v without packets", s.gap)
			}
			if n := s.gate.Count(); n.Admits != 1 || n.Closes != 0 {
				t.Errorf("%d places were taken, %d given back", n.Admits, n.Closes)
			}
		})
	})
}

// TestFailoverFrozenAll: a viewer all of whose origins are frozen stays with the one
// he has until it is well, or another is.
func TestFailoverFrozenAll(t *testing.T) {
	f := func(which int, d time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			st := newStage(often, "one", "two")
			seated(t, st, func(s *seat) {
				s.takes(5 * time.Second)
				for _, a := range st.origins {
					a.falls(frozen)
				}
				thaw := time.AfterFunc(d, func() { st.origins[which].falls(well) })
				defer thaw.Stop()
				s.takes(d + 5*time.Second)
				t.Logf("origin %d is well after %v: packets after %v", which+1, d, s.gap)
				if s.gap < d-often {
					t.Errorf("packets after %v", s.gap)
				}
			})
		})
	}
	f(0, 3*time.Second)
	f(0, 30*time.Second)
	f(1, 3*time.Second)
	f(1, 30*time.Second)
	f(1, 5*time.Minute)
}
