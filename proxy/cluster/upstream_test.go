package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// A shareRig is an edge that asks another one, "far", which owns everything, before
// it asks an origin.
type shareRig struct {
	*Upstream
	t      *testing.T
	far    *httptest.Server
	asked  atomic.Int64 // connections of far
	origin proxytest.Upstream
}

func newShareRig(t *testing.T, serve http.HandlerFunc) *shareRig {
	t.Helper()
	self := setup{name: "self", options: Options{KeyFile: keyFile(t, 'a')}}.make(t)
	r := &shareRig{t: t}
	r.far = httptest.NewUnstartedServer(serve)
	r.far.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			r.asked.Add(1)
		}
	}
	r.far.Start()
	port := r.far.Listener.Addr().(*net.TCPAddr).Port
	node := func(name string, modes ...string) Node {
		return Node{Identity: Identity{Name: name, ID: newID(name), Role: Edge, Modes: modes,
			Services: []Service{{"http", "127.0.0.1", uint16(port)}, {"rtsp", "127.0.0.1", uint16(port)}}}, State: Alive, Self: name == "self"}
	}
	v := &view{edges: []Node{node("self"), node("far", "cache", "splitter")}}
	v.nodes = v.edges
	self.view.Store(v)
	r.Upstream = self.Upstream(&r.origin).(*Upstream)
	t.Cleanup(func() {
		r.http.CloseIdleConnections()
		r.far.CloseClientConnections()
		r.far.Close()
		self.kill()
	})
	return r
}

// get asks with a key, and reads all.
func (r *shareRig) get(path string, key string) (body string, err error) {
	r.t.Helper()
	ctx := r.t.Context()
	if key != "" {
		ctx = proxy.Shared(ctx, key)
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	res, err := r.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func answer(code int, body string, fields ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(fields); i += 2 {
		h.Set(fields[i], fields[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func TestOwnerIsAsked(t *testing.T) {
	var r *shareRig
	r = newShareRig(t, func(w http.ResponseWriter, req *http.Request) {
		if !r.c.Verify(req.Header.Get("Weir-Peer"), "/a/b c.ts") {
			t.Errorf("mark %q is not good", req.Header.Get("Weir-Peer"))
		}
		fmt.Fprint(w, "far ", req.URL.RequestURI())
	})
	r.origin.RoundTripFunc = func(*http.Request) (*http.Response, error) { return answer(200, "origin"), nil }
	f := func(key, want string) {
		t.Helper()
		if got, err := r.get("/a/b%20c.ts?x=1", key); got != want || err != nil {
			t.Errorf("with key %q: %q, %v, want %q", key, got, err, want)
		}
	}
	f("cache:/a", "far /a/b%20c.ts?x=1")
	f("", "origin")
	f("passthrough:/a", "origin") // no edge carries that
	for _, method := range []string{http.MethodHead, http.MethodPost} {
		req, _ := http.NewRequestWithContext(proxy.Shared(t.Context(), "cache:/a"), method, "/a", nil)
		if res, err := r.RoundTrip(req); err != nil || res.ContentLength != 6 {
			t.Errorf("%s did not go to the origin: %v", method, err)
		}
	}
}

func TestRefusalOfPeer(t *testing.T) {
	code := http.StatusOK
	r := newShareRig(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	r.origin.RoundTripFunc = func(*http.Request) (*http.Response, error) { return answer(200, "origin"), nil }
	for code = range map[int]bool{401: true, 403: true, 429: true, 500: true, 502: true, 503: true, 504: true} {
		if got, err := r.get("/a", "cache:/a"); got != "origin" || err != nil {
			t.Errorf("after %d of the peer: %q, %v", code, got, err)
		}
	}
	code = http.StatusNotFound
	if got, _ := r.get("/a", "cache:/a"); got != "" {
		t.Errorf("404 is an origin's word, got %q", got)
	}
	if n := r.asked.Load(); n != 1 {
		t.Errorf("%d connections: refusals do not take a peer out", n)
	}
}

func TestDeadPeerIsPassedOver(t *testing.T) {
	r := newShareRig(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	r.origin.RoundTripFunc = func(*http.Request) (*http.Response, error) { return answer(200, "origin"), nil }
	for range 3 {
		if got, err := r.get("/a", "cache:/a"); got != "origin" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if n := r.asked.Load(); n > 2 { // net/http tries an idle connection's loss once more
		t.Errorf("a peer that had failed was asked again, %d connections", n)
	}
	if s := r.sharing(); len(s.Out) != 1 || s.Out[0] != "far" || s.Falls != 1 {
		t.Errorf("sharing = %+v", s)
	}
	r.mu.Lock()
	for id := range r.out {
		r.out[id] = time.Now()
	}
	r.mu.Unlock()
	before := r.asked.Load()
	r.get("/a", "cache:/a") //nolint:errcheck // seen above
	if r.asked.Load() == before {
		t.Error("a peer that had failed was never asked again")
	}
}

// An object that takes long is asked of an origin, and says nothing of the peer.
func TestSlowAnswerIsNoFailure(t *testing.T) {
	r := newShareRig(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			<-req.Context().Done()
			return
		}
		fmt.Fprint(w, "far")
	})
	r.late = 100 * time.Millisecond
	r.origin.RoundTripFunc = func(*http.Request) (*http.Response, error) { return answer(200, "origin"), nil }
	for path, want := range map[string]string{"/slow": "origin", "/fast": "far"} {
		r.late = 100 * time.Millisecond
		if path == "/fast" {
			r.late = peerHeader
		}
		if got, err := r.get(path, "cache:"+path); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	if s := r.sharing(); len(s.Out) != 0 {
		t.Errorf("passed over: %v", s.Out)
	}
}

// A peer without a door in the clear for one thing is asked for others.
func TestPeerWithoutADoor(t *testing.T) {
	r := newShareRig(t, func(http.ResponseWriter, *http.Request) {})
	r.c.look().edges[1].Services = r.c.look().edges[1].Services[1:] // RTSP only
	r.origin.RoundTripFunc = func(*http.Request) (*http.Response, error) { return answer(200, "origin"), nil }
	if got, err := r.get("/a", "cache:/a"); got != "origin" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if r.owner("splitter", "splitter:/cam", nil) == nil || r.owner("splitter", "splitter:/cam", []string{"edge far"}) != nil {
		t.Error("the owner of a pull is not asked, or though it is to be avoided")
	}
}

// Who pulls from an edge that drains is told to go elsewhere, and who has gone is not.
func TestDrainingPeerIsLeft(t *testing.T) {
	r := newShareRig(t, func(http.ResponseWriter, *http.Request) {})
	link, err := r.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	gone, err := r.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	if err != nil {
		t.Fatal(err)
	}
	r.handOver()
	for l := range r.links {
		if l.due != nil {
			t.Fatal("a link to an edge that is well is to be left")
		}
	}
	gone.Close()
	was := r.c.look()
	now := &view{nodes: slices.Clone(was.nodes), edges: was.edges}
	now.nodes[1].State = Draining
	r.c.view.Store(now)
	r.handOver()
	select {
	case <-link.Leave:
	case <-time.After(patient):
		t.Fatal("nobody says that the edge drains")
	}
	select {
	case <-gone.Leave:
		t.Error("a closed link is told to leave")
	default:
	}
	link.Close()
	if len(r.links) != 0 {
		t.Errorf("%d links are kept", len(r.links))
	}
}

// A peer that dies in the middle of a body is followed by an origin, if it is certain
// that it has the same file.
func TestBodyGoesOnWithOrigin(t *testing.T) {
	file := make([]byte, 300_000)
	rand.Read(file) //nolint:errcheck // never fails
	etag := `"v1"`
	ranged := ""
	r := newShareRig(t, func(w http.ResponseWriter, req *http.Request) {
		from := 0
		w.Header().Set("Etag", etag)
		if v := req.Header.Get("Range"); v != "" {
			fmt.Sscanf(v, "bytes=%d-", &from) //nolint:errcheck // a test's own
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(file)-1, len(file)))
			w.Header().Set("Content-Length", strconv.Itoa(len(file)-from))
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(file)-from))
		w.Write(file[from : from+100_000]) //nolint:errcheck // it is cut anyway
		panic(http.ErrAbortHandler)
	})
	r.origin.RoundTripFunc = func(req *http.Request) (*http.Response, error) {
		ranged = req.Header.Get("Range") + " " + req.Header.Get("If-Range")
		var from, to int
		fmt.Sscanf(ranged, "bytes=%d-%d", &from, &to) //nolint:errcheck // a test's own
		return answer(206, string(file[from:to+1]), "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(file)), "Etag", `"v1"`), nil
	}
	f := func(rangeOf, tag string, want []byte, whole bool) {
		t.Helper()
		r.out, etag, ranged = map[ID]time.Time{}, tag, ""
		req, _ := http.NewRequestWithContext(proxy.Shared(t.Context(), "cache:/a"), http.MethodGet, "/a", nil)
		if rangeOf != "" {
			req.Header.Set("Range", rangeOf)
		}
		res, err := r.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if whole != (err == nil) || !bytes.HasPrefix(want, got) || whole && len(got) != len(want) {
			t.Errorf("range %q, tag %s: %d bytes of %d, %v; the origin was asked for %q", rangeOf, tag, len(got), len(want), err, ranged)
		}
	}
	f("", `"v1"`, file, true)
	f("bytes=50000-", `"v1"`, file[50000:], true)
	f("", `"v2"`, file, false)   // the origin has another by now
	f("", `W/"v1"`, file, false) // not sure to be the same bytes
	f("", "", file, false)
}

func TestDialOfOwner(t *testing.T) {
	r := newShareRig(t, func(http.ResponseWriter, *http.Request) {})
	errOrigin := errors.New("the origin")
	r.origin.DialFunc = func(context.Context, proxy.Want) (*proxy.Link, error) { return nil, errOrigin }
	link, err := r.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	if err != nil {
		t.Fatal(err)
	}
	link.Close()
	if !r.c.Verify(link.Mark, "/cam") || link.URL.Path != "/cam" || link.Origin != "edge far" || link.TLS != nil {
		t.Errorf("link = %+v", link)
	}
	direct := func(w proxy.Want) {
		t.Helper()
		if _, err := r.DialRTSP(t.Context(), w); !errors.Is(err, errOrigin) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	direct(proxy.Want{Path: "/cam", Direct: true})
	direct(proxy.Want{Path: "/cam", Origin: "10.0.0.1:554"})
	link.Fail(errors.New("went silent"))
	direct(proxy.Want{Path: "/cam"})
	r.out = map[ID]time.Time{}
	r.far.Close()
	direct(proxy.Want{Path: "/cam"})
	if r.sharing().Falls != 1 {
		t.Errorf("sharing = %+v", r.sharing())
	}
}

// Those who lose an owner together agree on the next one.
func TestNextOwner(t *testing.T) {
	edges := []Node{}
	for i := range 5 {
		name := fmt.Sprint("edge", i)
		edges = append(edges, Node{Identity: Identity{Name: name, ID: newID(name), Role: Edge, Modes: []string{"splitter"}}, State: Alive})
	}
	first := owner(edges, "splitter", "splitter:/cam", nobody)
	lost := func(n *Node) bool { return n.ID == first.ID }
	next := owner(edges, "splitter", "splitter:/cam", lost)
	if next == nil || next.ID == first.ID {
		t.Fatalf("next owner = %v", next)
	}
	for i := range edges { // however each of them sees itself
		edges[i].Self = true
		if again := owner(edges, "splitter", "splitter:/cam", lost); again.ID != next.ID {
			t.Errorf("%s thinks it is %s, others %s", edges[i].Name, again.Name, next.Name)
		}
		edges[i].Self = false
	}
}

func TestNothingIsShared(t *testing.T) {
	var origin proxytest.Upstream
	f := func(what string, o Options) {
		t.Helper()
		p := setup{name: "a", options: o}.make(t)
		defer p.kill()
		p.o.Share = o.Share
		if p.Upstream(&origin) != proxy.Upstream(&origin) {
			t.Errorf("%s: there is something before the origins", what)
		}
	}
	f("without keys", Options{})
	f("off", Options{Share: "off", KeyFile: keyFile(t, 'a')})
}
