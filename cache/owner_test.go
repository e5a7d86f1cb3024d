package cache

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/proxy"
)

// keyed notes the keys that requests upstream have.
type keyed struct {
	proxy.Upstream
	mu   sync.Mutex
	keys []string
}

func (k *keyed) RoundTrip(req *http.Request) (*http.Response, error) {
	k.mu.Lock()
	k.keys = append(k.keys, proxy.SharedKey(req.Context()))
	k.mu.Unlock()
	return k.Upstream.RoundTrip(req)
}

// owns is a cluster in which this edge owns some keys.
type owns struct {
	proxy.Peers
	keys []string
}

func (o *owns) Owner(key string) (string, bool) { return "other", slices.Contains(o.keys, key) }

func newSharingRig(t *testing.T) (*rig, *keyed, *owns) {
	t.Helper()
	k, o := &keyed{}, &owns{Peers: proxy.Alone}
	r := newRigOn(t, func(u proxy.Upstream) proxy.Upstream { k.Upstream = u; return k }, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if req.URL.Path == "/own.html" {
			w.Header().Set("Cache-Control", "no-store")
		}
		w.Write([]byte("x")) //nolint:errcheck // a test's
	})
	r.env.Peers = o
	return r, k, o
}

func (k *keyed) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer func() { k.keys = nil }()
	return k.keys
}

func TestWhatIsAskedOfTheOwner(t *testing.T) {
	r, k, _ := newSharingRig(t)
	f := func(url string, header http.Header, want ...string) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.edge.URL+url, nil)
		req.Header = header
		res, err := plainClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := k.take(); !slices.Equal(got, want) {
			t.Errorf("%s with %v went upstream with the keys %q, want %q", url, header, got, want)
		}
	}
	none := http.Header{}
	f("/live/a/1.ts", none, "cache:/live/a")
	f("/live/a/1.ts", none)
	f("/films/one.mp4", none, "cache:/films/one.mp4")
	f("/page.html?b=1", none, "cache:/page.html")
	f("/live/a/key.key", none, "")                                    // is nobody else's
	f("/mine.html", http.Header{"Authorization": {"Basic eDp5"}}, "") // what it answers is for one
	f("/own.html", none, "cache:/own.html")
	f("/own.html", none, "") // it turned out to be for one
	r.purge(purge{URL: "/live/a/1.ts"})
	f("/live/a/1.ts", none, "") // the owner may not have heard yet
	r.purgedAt.Store(time.Now().Add(-purgeRest).UnixNano())
	f("/live/a/2.ts", none, "cache:/live/a")
}

// What a viewer has changed is asked of the origin once, though another edge may have what
// it was before.
func TestChangedIsAskedOfTheOrigin(t *testing.T) {
	r, _, _ := newSharingRig(t)
	f := func(method, url, want string) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), method, r.edge.URL+url, nil)
		res, err := plainClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		all := r.origin.asked(url)
		if got := all[len(all)-1].Header.Get("Cache-Control"); got != want {
			t.Errorf("%s %s went upstream with Cache-Control %q, want %q", method, url, got, want)
		}
	}
	f("GET", "/page.html", "")
	f("POST", "/page.html", "")
	f("GET", "/page.html", "no-cache")
	f("POST", "/other.html", "")
	f("GET", "/other.html", "no-cache")
	r.purge(purge{URL: "/page.html"})
	f("GET", "/page.html", "")
}

// An edge that asks another one is answered by the owner only, and that asks the origin.
func TestPeerAsks(t *testing.T) {
	r, k, o := newSharingRig(t)
	f := func(path string, peer bool, want int, keys ...string) {
		t.Helper()
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header.Set("Via", "1.1 weir-other")
		v := &proxy.Viewer{Protocol: "http", Path: path, Peer: peer}
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, req.WithContext(proxy.WithViewer(t.Context(), v)))
		if got := k.take(); rec.Code != want || !slices.Equal(got, keys) {
			t.Errorf("%s, by a peer %v: %d, want %d; keys %q, want %q", path, peer, rec.Code, want, got, keys)
		}
	}
	f("/live/1.ts", true, 503)
	f("/live/1.ts", false, 200, "cache:/live")
	o.keys = []string{"cache:/live"}
	f("/live/1.ts", true, 200)
	f("/live/2.ts", true, 200, "")
}
