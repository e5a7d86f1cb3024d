package passthrough

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/wire"
)

// A restless viewer asks all the time, one thing after the other. It belongs to one
// goroutine.
type restless struct {
	*player
	rand  *rand.Rand
	ssrc  uint32
	codes map[int]int
}

// says sends a request and returns its answer's code; media before it has to be of one
// source. An error is the connection's, whose end may come at any time.
func (r *restless) says(method string, header ...string) (int, error) {
	r.cseq++
	req := wire.Request{Method: method, URL: r.url}
	req.Header.Add("CSeq", fmt.Sprint(r.cseq))
	req.Header.Add("Session", r.session)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if _, err := r.c.Write(req.Append(nil)); err != nil {
		return 0, err
	}
	for {
		m, err := r.in.Next()
		if err != nil {
			return 0, err
		}
		switch m := m.(type) {
		case *wire.Frame:
			r.media(m)
		case *wire.Response:
			if got := m.Header.Get("CSeq"); got != fmt.Sprint(r.cseq) {
				r.t.Errorf("answer %s to request %d", got, r.cseq)
			}
			return m.Code, nil
		}
	}
}

func (r *restless) media(m *wire.Frame) {
	if m.Channel != 0 || !rtp.Valid(m.Payload) {
		return
	}
	if ssrc := rtp.SSRC(m.Payload); r.ssrc != 0 && ssrc != r.ssrc {
		r.t.Errorf("SSRC %08x after %08x", ssrc, r.ssrc)
	} else {
		r.ssrc = ssrc
	}
}

// stirs asks until it is to stop, and leaves in one of the ways there are.
func (r *restless) stirs(stop <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	defer r.c.Close()
	for {
		select {
		case <-stop:
			if r.rand.IntN(2) == 0 {
				r.took(r.says("TEARDOWN"))
			}
			return
		case <-tick.C:
		}
		var code int
		var err error
		switch r.rand.IntN(40) {
		case 0:
			r.took(r.says("TEARDOWN"))
			return
		case 1:
			return // without a word
		case 2, 3, 4, 5:
			code, err = r.says("PAUSE")
		case 6, 7, 8, 9:
			code, err = r.says("GET_PARAMETER")
		case 10, 11, 12:
			code, err = r.says("PLAY", "Range", fmt.Sprintf("npt=%d-", r.rand.IntN(1000)))
		default:
			code, err = r.says("PLAY")
		}
		if !r.took(code, err) {
			return
		}
	}
}

// took notes an answer, and reports whether there was one.
func (r *restless) took(code int, err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Errorf("request %d is not answered", r.cseq)
	}
	r.codes[code]++
	return err == nil
}

// TestFailoverRestless: origins are killed in turns under viewers who pause, seek,
// and leave meanwhile. Each request is answered, in order, or the connection ends; no
// place is left, and none given back twice.
func TestFailoverRestless(t *testing.T) {
	const viewers = 200
	all := []*herd{newHerd(t, 1), newHerd(t, 2), newHerd(t, 3)}
	for _, h := range all {
		h.sdp = stored(1, "1000")
	}
	o := quick
	o.Timeout = soon
	e := newEdge(t, o, all[0].url, all[1].url, all[2].url)
	var work sync.WaitGroup
	stop := make(chan struct{})
	var those []*restless
	for n := range viewers {
		r := &restless{player: e.dial(fmt.Sprintf("/cam%d", n)).watch(), rand: rand.New(rand.NewPCG(8, uint64(n))), codes: map[int]int{}}
		those = append(those, r)
	}
	for _, r := range those {
		work.Go(func() { r.stirs(stop) })
	}
	kill := time.NewTicker(150 * time.Millisecond)
	defer kill.Stop()
	for n := range 10 {
		<-kill.C
		all[n%len(all)].restart()
	}
	close(stop)
	work.Wait()
	codes := map[int]int{}
	for _, r := range those {
		for code, n := range r.codes {
			codes[code] += n
		}
	}
	t.Logf("answers by code, 0 for the end of the connection: %v", codes)
	if n := e.relay.met.moves.Load(); n == 0 {
		t.Error("no session has moved")
	}
	proxytest.Eventually(t, 2*soon, "the places are free", func() bool { return e.places() == 0 })
}
