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

// sessionID is the field that names an answer's session.
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

// What viewers should not say: each is answered as RFC 2326 §11 has it, or ends that
// connection, and the edge plays on.
func TestHostileRequests(t *testing.T) {
	origin := newOrigin(t, origintest.Options{})
	e := newEdge(t, edgeOptions(), balancer(t, origin.URL()))
	url := e.url + clock
	track := url + "/trackID=0"
	tcp := func(channels string) string { return "Transport: RTP/AVP/TCP;unicast;interleaved=" + channels }
	ports := func(ports string) string { return "Transport: RTP/AVP;unicast;client_port=" + ports }
	f := func(what string, c *talker, want int, method, url string, header ...string) *wire.Response {
		t.Helper()
		res := c.ask(method, url, header...)
		if res.Code != want {
			t.Errorf("%s: answered %d, want %d", what, res.Code, want)
		}
		if res.Code >= 400 && res.Header.Get("Session") != "" {
			t.Errorf("%s: refused with a session", what)
		}
		return res
	}
	c := talk(t, e) // all of it on one connection, which stays
	f("DESCRIBE", c, 200, "DESCRIBE", url)
	f("an unknown method with a known one in it", c, 501, "XDESCRIBE", url)
	f("another", c, 501, "XSETUP", track, overTCP)
	f("an unknown method", c, 501, "HELLO", url, "Content-Length: 0")
	f("publishing", c, 405, "ANNOUNCE", url)
	f("recording", c, 405, "RECORD", url, "Session: 1")
	for _, method := range []string{"PLAY", "PAUSE", "TEARDOWN"} {
		f(method+" without a session", c, 454, method, url)
	}
	for _, method := range []string{"OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"} {
		f(method+" of nobody's session", c, 454, method, track, "Session: 1234", overTCP)
	}
	f("a ping", c, 200, "GET_PARAMETER", url)
	f("two sessions", c, 400, "PLAY", url, "Session: 1", "Session: 2")
	f("a feature", c, 551, "SETUP", track, overTCP, "Require: play.scale")
	f("no transport", c, 400, "SETUP", track)
	f("an empty one", c, 400, "SETUP", track, "Transport:")
	c = talk(t, e)
	f("a relative URL", c, 400, "DESCRIBE", clock)
	f("a URL of HTTP", c, 400, "DESCRIBE", strings.Replace(url, "rtsp", "http", 1))
	f("a fragment", c, 400, "DESCRIBE", url+"#x")
	c = talk(t, e)
	f("a track that is not there", c, 404, "SETUP", url+"/trackID=9", overTCP)
	f("a track that is no number", c, 404, "SETUP", url+"/trackID=x", overTCP)
	f("a track that is no number, behind the query", c, 404, "SETUP", url+"?y/trackID=x", overTCP)
	f("several tracks at once", c, 459, "SETUP", url, overTCP)
	f("the same", c, 459, "SETUP", url+"/", overTCP)
	f("nothing but multicast", c, 461, "SETUP", track, multicast)
	f("encrypted media", c, 461, "SETUP", track, "Transport: RTP/SAVP/TCP;unicast;interleaved=0-1")
	f("nonsense for a transport", c, 461, "SETUP", track, "Transport: nonsense")
	f("publishing by SETUP", c, 461, "SETUP", track, overTCP+";mode=record")

	for _, channels := range []string{"3-9", "0-0", "1-0", "255-256", "255", "256-257", "-1-0", "0-", "a-b", "0-1-2", "", "99999999999999999999-1"} {
		f("channels "+channels, talk(t, e), 400, "SETUP", track, tcp(channels))
	}
	f("channels that begin oddly", talk(t, e), 200, "SETUP", track, tcp("253-254"))
	f("the last channels", talk(t, e), 200, "SETUP", track, tcp("254-255"))
	f("one channel", talk(t, e), 200, "SETUP", track, tcp("4"))
	for _, p := range []string{"0-1", "80-81", "1023-1024", "65535-65536", "65535", "70000-70001", "5000-5000", "5000-80", "x", "", "2147483647"} {
		f("ports "+p, talk(t, e), 400, "SETUP", track, ports(p))
	}
	f("no ports", talk(t, e), 400, "SETUP", track, "Transport: RTP/AVP;unicast")
	f("ports that begin oddly", talk(t, e), 200, "SETUP", track, ports("41005-41006"))
	f("one port", talk(t, e), 200, "SETUP", track, ports("41008"))
	f("multicast first", talk(t, e), 200, "SETUP", track, multicast+",RTP/AVP;unicast;client_port=41000-41001")
	f("what we do not know first", talk(t, e), 200, "SETUP", track, "Transport: RTP/AVPF;unicast;client_port=x, RAW/RAW/UDP ,RTP/AVP/TCP;interleaved=2-3")

	// A session's id in other hands.
	a, b := talk(t, e), talk(t, e)
	id := sessionID(f("SETUP", a, 200, "SETUP", track, overTCP))
	for _, method := range []string{"SETUP", "PLAY", "PAUSE", "TEARDOWN", "OPTIONS", "GET_PARAMETER"} {
		f(method+" of another's session", b, 454, method, track, tcp("2-3"), id)
	}
	// One session in two ways, one track or one pair of channels twice.
	second := url + "/trackID=1"
	f("a second transport", a, 461, "SETUP", second, overUDP(41030), id)
	f("one track twice", a, 455, "SETUP", track, tcp("2-3"), id)
	f("channels that are taken", a, 400, "SETUP", second, tcp("1-2"), id)
	f("another stream", a, 404, "SETUP", e.url+"/live/radio/trackID=0", tcp("2-3"), id)
	f("PLAY of another path", a, 404, "PLAY", e.url+"/live/radio", id)
	f("PLAY of a track that is not set up", a, 404, "PLAY", second, id)
	f("PLAY of a URL that climbs", a, 400, "PLAY", url+"/../x", id)
	f("SETUP of the other track, with a choice", a, 200, "SETUP", second, overUDP(41030)+",RTP/AVP/TCP;unicast", id)
	f("PLAY of one track of two", a, 460, "PLAY", track, id)
	f("PLAY", a, 200, "PLAY", url, id)
	f("SETUP while playing", a, 455, "SETUP", second, tcp("4-5"), id)
	f("the same without naming the session", a, 455, "SETUP", second, tcp("4-5"))
	f("PAUSE", a, 200, "PAUSE", url+"/", id)
	f("TEARDOWN", a, 200, "TEARDOWN", url, id)
	f("PLAY after it", a, 454, "PLAY", url, id)
	id = sessionID(f("SETUP after it", a, 200, "SETUP", second, overTCP))
	f("PLAY of the only track", a, 200, "PLAY", second, id)

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
