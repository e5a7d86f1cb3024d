package splitter_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/wire"
)

// A talker speaks RTSP by hand.
type talker struct {
	net.Conn
	r    *wire.Reader
	cseq int
}

func talk(t *testing.T, e *edge) *talker {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "rtsp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &talker{Conn: c, r: wire.NewReader(bufio.NewReader(c))}
}

// ask returns the answer; one of code 0 if the connection has ended instead.
func (c *talker) ask(method, url string, header ...string) *wire.Response {
	c.cseq++
	c.SetDeadline(time.Now().Add(5 * time.Second))                                                      //nolint:errcheck
	c.Write([]byte(request(method, url, append([]string{fmt.Sprint("CSeq: ", c.cseq)}, header...)...))) //nolint:errcheck
	for {
		m, err := c.r.Next()
		if err != nil {
			return &wire.Response{}
		}
		if res, ok := m.(*wire.Response); ok {
			return res
		}
	}
}

func sessionID(res *wire.Response) string {
	id, _, _ := strings.Cut(res.Header.Get("Session"), ";")
	return "Session: " + id
}

const (
	overTCP   = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
	multicast = "Transport: RTP/AVP;multicast"
)

func overUDP(port int) string {
	return fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", port, port+1)
}

// What viewers should not say: each is answered, or ends that connection, and the
// edge plays on.
func TestHostileRequests(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	url := e.url + clock
	track := url + "/trackID=0"
	check := func(what string, res *wire.Response, want ...int) {
		t.Helper()
		for _, w := range want {
			if res.Code == w {
				return
			}
		}
		t.Errorf("%s: answered %d, want one of %v", what, res.Code, want)
	}
	first := talk(t, e)
	check("DESCRIBE", first.ask("DESCRIBE", url), 200)
	check("an unknown method with a known one in it", first.ask("XDESCRIBE", url), 501)
	check("another", first.ask("XSETUP", track, overTCP), 501)
	check("a request hidden in a body", first.ask("HELLO", url, "Content-Length: 0"), 501)
	check("PLAY without a session", first.ask("PLAY", url), 501, 454)
	check("PLAY of nobody's session", talk(t, e).ask("PLAY", url, "Session: 1234"), 454)
	check("a track that is not there", talk(t, e).ask("SETUP", url+"/trackID=9", overTCP), 404, 400)
	check("a track that is no number", talk(t, e).ask("SETUP", url+"/trackID=x", overTCP), 404, 400)
	check("odd channels", talk(t, e).ask("SETUP", track, "Transport: RTP/AVP/TCP;unicast;interleaved=255-256"), 400)
	check("low ports", talk(t, e).ask("SETUP", track, overUDP(80)), 400)
	check("multicast", talk(t, e).ask("SETUP", track, multicast), 461)
	check("multicast first", talk(t, e).ask("SETUP", track, multicast+",RTP/AVP;unicast;client_port=41000-41001"), 200)

	// A session's id in other hands.
	a, b := talk(t, e), talk(t, e)
	id := sessionID(a.ask("SETUP", track, multicast))
	check("SETUP of another's session", b.ask("SETUP", track, overUDP(41010), id), 400, 0)
	b.Close()
	a.ask("PLAY", url, id)
	a, b = talk(t, e), talk(t, e)
	id = sessionID(a.ask("SETUP", track, multicast))
	b.ask("SETUP", url+"?x/trackID=0/", overUDP(41020), id)
	a.ask("SETUP", track, overTCP, id)
	a.ask("PLAY", url, id)

	// One session in two ways, one track twice, SETUP while playing.
	a = talk(t, e)
	id = sessionID(a.ask("SETUP", track, overTCP))
	check("a second transport", a.ask("SETUP", url+"/trackID=1", overUDP(41030), id), 400, 0)
	a = talk(t, e)
	id = sessionID(a.ask("SETUP", track, overTCP))
	check("one track twice", a.ask("SETUP", track, overTCP, id), 400, 0)
	a = talk(t, e)
	id = sessionID(a.ask("SETUP", track, overTCP))
	check("PLAY", a.ask("PLAY", url, id), 200)
	check("SETUP while playing", a.ask("SETUP", url+"/trackID=1", overTCP, id), 400, 455, 0)

	watch(t, url, "tcp").more(t, 0, 5)
}

// The track is where gortsplib looks for it: a token behind it changes nothing.
func TestTrackBeforeToken(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	watch(t, e.url+clock, "tcp").more(t, 0, 30)
	a := talk(t, e)
	id := sessionID(a.ask("SETUP", e.url+clock+"/trackID=1?token=x", "Transport: RTP/AVP/TCP;unicast;interleaved=6-7"))
	if res := a.ask("PLAY", e.url+clock, id); res.Code != 200 {
		t.Fatalf("PLAY answered %d", res.Code)
	}
	if frames, others := channels(a.r, 20); frames[6] < 10 || len(others) > 0 {
		t.Errorf("sound on channel 6 alone: got %v and others %v", frames, others)
	}
}

// A crowd of talkers says anything in any order, with each other's sessions,
// while the origin comes and goes; somebody who behaves sees nothing of it.
func TestBabble(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	good := watch(t, e.url+clock, "tcp")
	good.more(t, 0, 5)
	var mu sync.Mutex
	ids := []string{"Session: 1"}
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() { babble(t, e, rand.New(rand.NewPCG(seed, 1)), &mu, &ids) })
	}
	wg.Wait()
	good.more(t, 0, 5)
	if err := good.over(); err != nil {
		t.Errorf("a viewer who behaves ended: %v", err)
	}
}

func babble(t *testing.T, e *edge, rng *rand.Rand, mu *sync.Mutex, ids *[]string) {
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	for range 12 {
		c := talk(t, e)
		for range 12 {
			mu.Lock()
			id := (*ids)[rng.IntN(len(*ids))]
			mu.Unlock()
			url := e.url + pick(clock, clock, "/live/radio", "/vod/clip", "/nothing")
			method := pick("DESCRIBE", "SETUP", "SETUP", "PLAY", "PLAY", "PAUSE", "TEARDOWN", "OPTIONS", "GET_PARAMETER", "ANNOUNCE", "XPLAY")
			if method == "SETUP" {
				url += pick("/trackID=0", "/trackID=1", "/trackID=7", "", "?a/trackID=0", "/trackID=1/")
			}
			header := []string{pick(overTCP, overTCP, overUDP(42000+2*rng.IntN(50)), multicast, "Transport: nonsense")}
			if rng.IntN(2) == 0 {
				header = append(header, id)
			}
			res := c.ask(method, url, header...)
			if res.Code == 0 {
				break
			}
			if res.Header.Get("Session") != "" {
				mu.Lock()
				*ids = append(*ids, sessionID(res))
				mu.Unlock()
			}
		}
		c.Close()
	}
}
