package main

import (
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"weir/admission"
)

// digestUser and basicUser are lines of files: where all can use Digest, it is
// offered.
func digestUser() string {
	return fmt.Sprintf("ann:Weir:%x path=/a path=/live class=gold\n", md5.Sum([]byte("ann:Weir:annssecret")))
}

func basicUser(t *testing.T) string {
	t.Helper()
	hashed, err := bcrypt.GenerateFromPassword([]byte("bobssecret"), bcrypt.MinCost)
	must(t, err)
	return fmt.Sprintf("bob:%s path=/b path=/live\n", hashed)
}

// TestGatePlayers plays with Basic, Digest and a token through a gate, over TCP
// and UDP, and is refused without.
func TestGatePlayers(t *testing.T) {
	g := guard(t, digestUser(), "-admission.users", "DIR/users", "-admission.keys", "DIR/keys")
	basic := guard(t, basicUser(t)+digestUser(), "-admission.users", "DIR/users")
	token := g.sign(t, admission.Claim{Path: "/live"})
	urls := map[string]string{
		"digest": "rtsp://ann:annssecret@" + g.rtsp + demoPath,
		"basic":  "rtsp://bob:bobssecret@" + basic.rtsp + demoPath,
		"token":  "rtsp://" + g.rtsp + demoPath + "?token=" + token,
	}
	for how, url := range urls {
		for _, transport := range []string{"tcp", "udp"} {
			t.Run("ffmpeg/"+how+"/"+transport, func(t *testing.T) {
				t.Parallel()
				ffmpegPlays(t, url, transport)
			})
			t.Run("gstreamer/"+how+"/"+transport, func(t *testing.T) {
				t.Parallel()
				gstreamer(t, url, transport, 100, 180, nil)
			})
		}
	}
	t.Run("ffmpeg/refused", func(t *testing.T) {
		need(t, "ffmpeg")
		f := func(url, want string) {
			t.Helper()
			out, err := exec.CommandContext(t.Context(), "timeout", "20", "ffmpeg", "-nostdin", "-rtsp_transport", "tcp", "-i", url, "-t", "1", "-f", "null", "-").CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("%s: %v, want %q:\n%s", url, err, want, tail(string(out)))
			}
		}
		f("rtsp://"+g.rtsp+demoPath, "401 Unauthorized")
		f("rtsp://ann:wrong@"+g.rtsp+demoPath, "401 Unauthorized")
		f("rtsp://bob:bobssecret@"+basic.rtsp+"/a/cam", "403 Forbidden")
	})
	t.Cleanup(func() {
		said := g.said.String() + basic.said.String()
		for _, secret := range []string{token, "annssecret", "bobssecret", "bobssecret", "response="} {
			if strings.Contains(said, secret) {
				t.Errorf("%q is in the log", secret)
			}
		}
		if s := g.upstream.String(); strings.Contains(s, "Authorization") {
			t.Errorf("the origin was asked %s", s)
		}
	})
}

// TestGateCurl asks with curl in every way it knows.
func TestGateCurl(t *testing.T) {
	need(t, "curl")
	g := guard(t, digestUser(), "-admission.users", "DIR/users", "-admission.keys", "DIR/keys")
	basic := guard(t, basicUser(t)+digestUser(), "-admission.users", "DIR/users")
	ask := func(g *guarded, path, want string, args ...string) {
		t.Helper()
		args = append(args, "-sS", "-m", "10", "-o", filepath.Join(t.TempDir(), "body"), "-w", "%{http_code}", "http://"+g.http+path)
		out, err := exec.CommandContext(t.Context(), "curl", args...).Output()
		if err != nil || string(out) != want {
			t.Errorf("curl %q: %s, %v, want %s", args, out, err, want)
		}
	}
	f := func(path, want string, args ...string) { t.Helper(); ask(g, path, want, args...) }
	token := g.sign(t, admission.Claim{Path: "/a"})
	f("/a/x", "401")
	f("/a/x", "200", "--basic", "-u", "ann:annssecret")
	f("/a/x?q=1&r=2", "200", "--digest", "-u", "ann:annssecret")
	f("/a/x", "200", "--anyauth", "-u", "ann:annssecret")
	f("/a/x", "401", "--basic", "-u", "ann:wrong")
	f("/a/x", "401", "--digest", "-u", "ann:wrong")
	f("/b/x", "403", "--digest", "-u", "ann:annssecret")
	ask(basic, "/b/x", "200", "--basic", "-u", "bob:bobssecret")
	ask(basic, "/a/x", "200", "--anyauth", "-u", "ann:annssecret")
	f("/a/x?token="+token, "200")
	f("/b/x?token="+token, "403")
	f("/a/x", "200", "-H", "Authorization: Bearer "+token)
	f("/a/x", "200", "-b", "weir-token="+token+"; other=1")
	f("/a/x", "200", "--basic", "-u", "any:"+token)
	if s := g.upstream.String(); strings.Contains(s, token) || strings.Contains(s, "Authorization") || strings.Contains(s, "weir-token") {
		t.Errorf("the origin was asked %s", s)
	}
}

// TestGateHook has a server of somebody's own decide.
func TestGateHook(t *testing.T) {
	asked := make(chan string, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked <- string(b)
		if !strings.Contains(string(b), `"token":"please"`) {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer hook.Close()
	g := guard(t, "", "-admission.hook", hook.URL)
	if code, _ := g.askHTTP(t, "GET /cam/index.m3u8?token=please HTTP/1.1\nHost: edge\nUser-Agent: player\n"); code != 200 {
		t.Errorf("GET: %d", code)
	}
	if b := <-asked; !strings.Contains(b, `"path":"cam"`) || !strings.Contains(b, `"protocol":"hls"`) || !strings.Contains(b, `"action":"read"`) ||
		!strings.Contains(b, `"ip":"127.0.0.1"`) || !strings.Contains(b, `"userAgent":"player"`) {
		t.Errorf("the hook was asked %s", b)
	}
	for n := range 20 {
		if code, _ := g.askHTTP(t, fmt.Sprintf("GET /cam/%d.ts?token=please HTTP/1.1\nHost: edge\nUser-Agent: player\n", n)); code != 200 {
			t.Errorf("GET: %d", code)
		}
	}
	if len(asked) > 0 {
		t.Errorf("the hook was asked again: %s", <-asked)
	}
	if code, _ := g.askRTSP(t, "DESCRIBE", "rtsp://edge/a/cam?token=please"); code != 200 {
		t.Errorf("DESCRIBE: %d", code)
	}
	if code, head := g.askRTSP(t, "DESCRIBE", "rtsp://edge/a/cam"); code != 401 {
		t.Errorf("DESCRIBE without credentials: %s", head)
	}
	if code, head := g.askRTSP(t, "DESCRIBE", "rtsp://edge/a/cam?token=now"); code != 403 && code != 401 {
		t.Errorf("DESCRIBE with a bad token: %s", head)
	}
	hook.Close()
	if code, head := g.askRTSP(t, "DESCRIBE", "rtsp://edge/b/cam?token=please"); code != 503 {
		t.Errorf("DESCRIBE while the hook is away: %s", head)
	}
	if code, _ := g.askHTTP(t, "GET /cam/99.ts?token=please HTTP/1.1\nHost: edge\nUser-Agent: player\n"); code != 200 {
		t.Error("who is known is refused while the hook is away")
	}
}

// TestGateBrowser plays HLS in Chromium from a signed prefix. In one the page is
// below it, its address has the token, and a cookie carries that on; in the other
// the page is of another origin, and playlists carry it.
func TestGateBrowser(t *testing.T) {
	need(t, "ffmpeg")
	needBrowser(t)
	dir := t.TempDir()
	storedStreams(t, dir)
	for _, name := range []string{"player.html", "player.js"} {
		text, err := os.ReadFile(filepath.Join("testdata/browser", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "stored", name), text, 0o600))
	}
	here := &wall{reports: make(chan namedReport, 1000), newest: map[string]*browserReport{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /stored/report", here.receive)
	for _, name := range []string{"hls.min.js", "dash.all.min.js"} {
		mux.HandleFunc("GET /stored/"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join(players, name))
		})
	}
	var asked seenRequests // with a token
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(fmt.Sprint(r.URL, r.Header), "token") {
			asked.ServeHTTP(httptest.NewRecorder(), r)
		}
		http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
	})
	origin := httptest.NewServer(mux)
	t.Cleanup(origin.Close)
	keys := filepath.Join(dir, "keys")
	secret := []byte("k1 " + strings.Repeat("0123456789abcdef", 3))
	must(t, os.WriteFile(keys, secret, 0o600))
	token, err := admission.Sign(secret, "", admission.Claim{Path: "/stored", Until: time.Now().Add(time.Hour)})
	must(t, err)
	cookie := edgeOf(t, origin.URL, "-admission.keys", keys)
	query := edgeOf(t, origin.URL, "-admission.keys", keys, "-admission.carry", "query")
	here.add("hls.js cookie", "hls", cookie+"/stored/index.m3u8", 0.7)
	below := cookie + "/stored/player.html?token=" + token + "&" + here.plays[0].query
	other := &wall{reports: here.reports, newest: here.newest}
	other.add("hls.js query", "hls", query+"/stored/index.m3u8?token="+token, 0.7)
	elsewhere := other.serve(t)
	here.plays = append(here.plays, other.plays...)
	browse(t, below)
	browse(t, elsewhere)
	here.await(t)
	for _, p := range here.plays {
		t.Run(p.name, func(t *testing.T) { p.check(t, here.newest[p.name]) })
	}
	if asked.n.Load() > 0 {
		t.Errorf("the origin was asked %s", &asked)
	}
}
