package passthrough

import (
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy/wire"
)

// TestFailoverGated: an origin whose pictures cannot be decoded yet is not silent.
func TestFailoverGated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(often, "one", "two")
		seated(t, st, func(s *seat) {
			s.takes(5 * time.Second)
			for _, a := range st.origins {
				a.shows(200, false) // one in 8 s, the first after as long
			}
			st.origins[0].falls(dead)
			time.Sleep(time.Second)
			st.origins[0].falls(well)
			s.takes(30 * time.Second)
			if s.gap > 200*often {
				t.Errorf("packets again after %v", s.gap)
			}
			one, _ := st.origins[0].counts()
			if two, blamed := st.origins[1].counts(); one != 1 || two != 1 || blamed > 0 {
				t.Errorf("dialled %d and %d times, the second is blamed %d times", one, two, blamed)
			}
		})
	})
}

// TestFailoverMuteAll: where nobody plays anything a session does not go round, and nobody
// is blamed for it.
func TestFailoverMuteAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(often, "one", "two")
		seated(t, st, func(s *seat) {
			s.takes(5 * time.Second)
			for _, a := range st.origins {
				a.shows(0, true)
			}
			time.Sleep(10 * time.Minute)
			one, blamed := st.origins[0].counts()
			two, blamed2 := st.origins[1].counts()
			if one+two > 20 || blamed+blamed2 > 1 {
				t.Errorf("dialled %d and %d times, blamed %d and %d times in ten minutes", one, two, blamed, blamed2)
			}
			st.origins[1].shows(0, false)
			st.origins[0].shows(0, false)
			s.c.SetDeadline(time.Now().Add(2 * seekRarely))
			s.frame()
		})
	})
}

// toldRange has an origin answer PLAY with a Range.
func toldRange(value string) func(req *wire.Request, res *wire.Response) {
	return func(req *wire.Request, res *wire.Response) {
		if req.Method == "PLAY" {
			res.Header.Add("Range", value)
		}
	}
}

// TestFailoverStoredEnd: a stream that has come to its end has not died, wherever it was
// said where that is; and the viewer may wind back, and is looked after from then on.
func TestFailoverStoredEnd(t *testing.T) {
	for _, said := range []string{"npt=0.000-", "npt=0.000-10.000"} {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(often, "one", "two")
			for _, a := range st.origins {
				a.sdp, a.edit = stored(1, "10.000"), toldRange(said)
			}
			seated(t, st, func(s *seat) {
				s.takes(10 * time.Second)
				st.origins[0].shows(0, true)
				time.Sleep(20 * time.Second)
				if n, _ := st.origins[1].counts(); n != 0 {
					t.Errorf("%s: another origin is dialled at the end", said)
				}
				s.c.SetDeadline(time.Now().Add(time.Minute))
				s.ask(200, "PAUSE", "")
				s.ask(200, "PLAY", "", "Range", "npt=0-")
				st.origins[0].shows(0, false)
				s.frame()
				start := time.Now()
				st.origins[0].falls(frozen)
				for n, _ := st.origins[1].counts(); n == 0 && time.Since(start) < time.Minute; n, _ = st.origins[1].counts() {
					time.Sleep(often)
				}
				if d := time.Since(start); d > quietFirst+quietLimit {
					t.Errorf("%s: the origin freezes after that, and is left after %v", said, d)
				}
			})
		})
	}
}

// TestFailoverSoughtMeanwhile: who winds while another origin is looked for stays where he is: it
// is alive.
func TestFailoverSoughtMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(often, "one", "two")
		for _, a := range st.origins {
			a.sdp = stored(1, "1000.000")
		}
		st.origins[0].edit = func(req *wire.Request, res *wire.Response) {
			if req.Method == "GET_PARAMETER" {
				res.Code = 503
			}
		}
		st.origins[1].edit = func(req *wire.Request, _ *wire.Response) {
			if req.Method == "SETUP" {
				time.Sleep(500 * time.Millisecond)
			}
		}
		seated(t, st, func(s *seat) {
			s.takes(5 * time.Second)
			s.send("GET_PARAMETER", "") // has somebody look
			s.takes(200 * time.Millisecond)
			st.origins[0].shows(0, true)
			s.send("PLAY", "", "Range", "npt=100-")
			if kept, sought := s.answer(), s.answer(); kept.Code != 503 || sought.Code != 200 {
				t.Errorf("what was kept is answered %d, PLAY %d", kept.Code, sought.Code)
			}
			st.origins[0].shows(0, false)
			s.c.SetDeadline(time.Now().Add(time.Minute))
			s.frame()
		})
	})
}
