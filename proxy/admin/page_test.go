package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"weir/proxy"
)

// liveStatus is what a splitter could report.
const liveStatus = `{
	"workers": 2, "in_bps": 4200000, "ring": {"held_bytes": 1572864},
	"feeds": [
		{"path": "/live/clock", "state": "up", "up_s": 3725, "in_bps": 4000000, "codecs": ["H264", "AAC"], "viewers": [
			{"addr": "198.51.100.7:50112", "transport": "tcp", "sent_bytes": 734003200, "agent": "VLC/3.0.20"},
			{"addr": "198.51.100.8:50114", "transport": "udp", "lag_s": 0.25, "agent": "ffmpeg"}]},
		{"path": "/live/door", "state": "waiting", "error": "dial: refused", "viewers": []},
		{"path": "/live/hall", "state": "up", "viewers": null}],
	"refused": []}`

func pageOf(t *testing.T, parts ...Named) string {
	t.Helper()
	res := get200(t, start(t, Options{}, config(parts...)), "/")
	if ct := res.header.Get("Content-Type"); ct != "text/html; charset=utf-8" {
		t.Errorf("Content-Type = %q", ct)
	}
	return res.body
}

func TestPage(t *testing.T) {
	body := pageOf(t,
		Named{"splitter", fakePart{status: json.RawMessage(liveStatus), ready: proxy.Degraded("no origin answers")}},
		Named{"passthrough", fakePart{}})
	if dir := os.Getenv("ADMIN_PAGE_DIR"); dir != "" { // to look at it in a browser
		if err := os.WriteFile(dir+"/page.html", []byte(body), 0o644); err != nil {
			t.Error(err)
		}
	}
	f := func(want string) {
		t.Helper()
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	f(`<title>weir: ready</title>`)
	f(`<h2>splitter <span class="degraded">degraded: no origin answers</span></h2>`)
	f(`<h2>passthrough <span class="ok">ok</span></h2>`)
	f(`<dt>workers</dt><dd>2</dd>`)
	f(`<dt>in_bps</dt><dd>4.2 Mbit/s</dd>`)
	f(`<dt>ring.held_bytes</dt><dd>1.5 MiB</dd>`)
	f(`<dt>refused</dt><dd>none</dd>`)
	f(`<caption>feeds <small>3</small></caption>`)
	f(`<tr><th scope="col">path</th><th scope="col">state</th><th scope="col">up_s</th><th scope="col">in_bps</th>` +
		`<th scope="col">codecs</th><th scope="col">error</th></tr>`)
	f(`<tr><td>/live/clock</td><td>up</td><td class="number">1h 2m</td><td class="number">4 Mbit/s</td>` +
		`<td>H264, AAC</td><td></td></tr>`)
	f(`<tr><td>/live/door</td><td>waiting</td><td></td><td></td><td></td><td>dial: refused</td></tr>`)
	f("<td class=\"inside\" colspan=\"6\">\n<table>\n<caption>viewers <small>2</small></caption>")
	f(`<td>198.51.100.7:50112</td><td>tcp</td><td class="number">700 MiB</td><td>VLC/3.0.20</td><td></td>`)
	f(`<td class="number">250 ms</td>`)
	if n := strings.Count(body, "<caption>viewers"); n != 1 {
		t.Errorf("%d tables of viewers, want 1: the other feeds have none", n)
	}
}

// Viewers choose their User-Agent, origins their errors.
func TestPageEscapes(t *testing.T) {
	const evil = `</td></script><script>alert(1)</script><img src=x onerror="alert(2)">'"&{{.}}`
	status := map[string]any{
		evil: evil,
		"viewers": []any{map[string]any{
			"agent": evil, evil: evil, "list": []any{evil, map[string]string{"k": evil}},
			"inner": []any{map[string]any{evil: evil}},
		}},
	}
	body := pageOf(t, Named{"splitter", fakePart{status: status, ready: proxy.Degraded(evil)}})
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") || strings.Contains(body, `"alert(2)"`) {
		t.Errorf("a hostile string reached the page:\n%s", body)
	}
	if n := strings.Count(body, "<script"); n != 1 {
		t.Errorf("%d scripts on the page, want its own", n)
	}
	if !strings.Contains(body, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the hostile string is not shown as text")
	}
}

// The policy lets the page's own script run and no other.
func TestPagePolicy(t *testing.T) {
	res := get200(t, start(t, Options{}, config()), "/")
	_, script, _ := strings.Cut(res.body, "<script>")
	script, _, ok := strings.Cut(script, "</script>")
	sum := sha256.Sum256([]byte(script))
	want := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
	if csp := res.header.Get("Content-Security-Policy"); !ok || !strings.Contains(csp, want) {
		t.Errorf("Content-Security-Policy = %q, want %s", csp, want)
	}
	if !strings.Contains(res.body, `<noscript><meta http-equiv="refresh" content="2"></noscript>`) {
		t.Error("without scripts the page does not refresh")
	}
}

// However many viewers there are, the page stays a page.
func TestPageBounds(t *testing.T) {
	type viewer struct {
		Agent string `json:"agent"`
	}
	type feed struct {
		N       int      `json:"n"`
		Viewers []viewer `json:"viewers"`
	}
	feeds := make([]feed, maxRows+7)
	feeds[0].Viewers = make([]viewer, maxNestedRows+9)
	feeds[0].Viewers[0].Agent = strings.Repeat("é", 4000)
	body := pageOf(t, Named{"splitter", fakePart{status: map[string]any{"feeds": feeds}}})
	f := func(want string) {
		t.Helper()
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	f(`<small>207</small>`)
	f(`>7 more: <a href="status.json">`)
	f(`>9 more: <a href="status.json">`)
	f(`<td>` + strings.Repeat("é", maxText/2) + `…</td>`)
	if n := strings.Count(body, "<tr>"); n > maxRows+maxNestedRows+10 {
		t.Errorf("%d rows", n)
	}
}

// A status of any shape gives a page.
func TestPageShapes(t *testing.T) {
	f := func(status, want string) {
		t.Helper()
		if body := pageOf(t, Named{"p", fakePart{status: json.RawMessage(status)}}); !strings.Contains(body, want) {
			t.Errorf("page of %s has no %q", status, want)
		}
	}
	f(`null`, `<h2>p `)
	f(`{}`, `<h2>p `)
	f(`"fine"`, `<dt>status</dt><dd>fine</dd>`)
	f(`[{"a":1}]`, `<caption>status`)
	f(`{"a":{"b":{"c":true}}}`, `<dt>a.b.c</dt><dd>yes</dd>`)
	f(`{"a":[[1,2],{"x":"y","z":null}]}`, `<dd>1, 2, {x y, z none}</dd>`)
	f(`{"t":[{"o":{"l":[{"deep":1}]}}]}`, `<caption>o.l`)
	f(`{"n":12345678901234567890}`, `<dd>12345678901234567890</dd>`)
	f(`not json`, `<dt>error</dt>`)
}

func TestHuman(t *testing.T) {
	f := func(key, n, want string) {
		t.Helper()
		if got := human(key, json.Number(n)); got != want {
			t.Errorf("human(%s, %s) = %q, want %q", key, n, got, want)
		}
	}
	f("viewers", "1234567", "1234567")
	f("bytes", "2048", "2048")
	f("x_bytes", "0", "0 B")
	f("x_bytes", "1023", "1023 B")
	f("x_bytes", "1536", "1.5 KiB")
	f("x_bytes", "1234567", "1.18 MiB")
	f("x_bytes", "-2048", "-2 KiB")
	f("x_bytes", "1e30", "888178419700125 PiB")
	f("x_bps", "999", "999 bit/s")
	f("x_bps", "3999000", "4 Mbit/s")
	f("x_bps", "12.5e9", "12.5 Gbit/s")
	f("x_s", "0", "0 s")
	f("x_s", "0.0123", "12.3 ms")
	f("x_s", "1.5", "1.5 s")
	f("x_s", "59.96", "60 s")
	f("x_s", "61", "1m 1s")
	f("x_s", "7265", "2h 1m")
	f("x_s", "100000", "1d 3h")
	f("x_s", "-90", "-1m 30s")
}
