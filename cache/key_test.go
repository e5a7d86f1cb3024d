package cache

import (
	"crypto/tls"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	rules := keyRules{ignore: defaultIgnore}
	f := func(path, query, wantID, wantQuery string) {
		t.Helper()
		got := rules.of(&http.Request{Host: "a", URL: &url.URL{Path: path, RawQuery: query}})
		if want := (key{wantID, wantQuery}); got != want {
			t.Errorf("of(%q, %q) = %q, want %q", path, query, got, want)
		}
	}
	f("/a/b.ts", "", "/a/b.ts", "")
	f("/", "", "/", "")
	f("/a", "&&", "/a", "")
	f("/a", "b=1", "/a?b=1", "b=1")
	f("/a", "c=2&b=1", "/a?b=1&c=2", "b=1&c=2")
	f("/a", "b=2&a=0&b=1&b=3", "/a?a=0&b=2&b=1&b=3", "a=0&b=2&b=1&b=3")
	f("/a", "b&b=&=b&=", "/a?=b&=&b&b=", "=b&=&b&b=")
	f("/a", "b=c=d", "/a?b=c=d", "b=c=d")
	f("/a", "B=1&b=1", "/a?B=1&b=1", "B=1&b=1")

	// A path with a question mark is none with a query (RFC 3986 §3.3).
	f("/a?b=1", "", "/a%3Fb=1", "")
	f("/a%3Fb=1", "", "/a%253Fb=1", "")
	f("/a?b", "c", "/a%3Fb?c", "c")
}

// Escapes that mean the same are the same (RFC 3986 §6.2.2).
func TestKeyEscapes(t *testing.T) {
	rules := keyRules{}
	f := func(query, want string) {
		t.Helper()
		if got := rules.from("", "/a", query).query; got != want {
			t.Errorf("query %q = %q, want %q", query, got, want)
		}
	}
	f("%61=%62", "a=b")
	f("a=%2d%2E%5f%7e", "a=-._~")
	f("a=%c3%bc", "a=%C3%BC")
	f("a=%26b%3d%2523", "a=%26b%3D%2523")
	f("a%3db=c", "a%3Db=c")
	f("a=b+c&d=b%20c", "a=b+c&d=b%20c") // not to every origin the same
	f("a=ü", "a=ü")
	f("c&%62", "b&c")

	// What url.ParseQuery refuses is not touched.
	f("c=1;b=%2d&a", "a&c=1;b=%2d")
	f("b=%2&a=%zz&c=%&d=%61%4", "a=%zz&b=%2&c=%&d=%61%4")
}

func TestKeyIgnore(t *testing.T) {
	f := func(ignore, query, want string) {
		t.Helper()
		rules := keyRules{ignore: strings.Fields(ignore)}
		if got := rules.from("", "/a.ts", query).query; got != want {
			t.Errorf("ignoring %q: query %q = %q, want %q", ignore, query, got, want)
		}
	}
	f("token", "token=1&a=2&token", "a=2")
	f("token", "Token=1&TOKEN=1", "")
	f("token", "%74oken=1&tok%45n=2", "")
	f("token", "tokens=1&toke=2&to%6ben%20=3", "toke=2&token%20=3&tokens=1")
	f("token", "a=token", "a=token")
	f("token", "token=1;a=2&token;b=1", "token;b=1")
	f("token", "to%6ben=%zz", "")
	f("utm_*", "utm_source=1&UTM_=2&utm=3&autm_x=4", "autm_x=4&utm=3")
	f("a+b", "a%2Bb=1&a+b=2", "a+b=2") // a plus is a space
	f("*", "a=1&b", "")
	f("", "token=1", "token=1")

	// Names of all viewers' own, and names that choose content.
	all := strings.Join(defaultIgnore, " ")
	f(all, "Policy=x&Signature=y&Key-Pair-Id=z&hdnea=st=1~exp=2&CMCD=br%3D1&_=17&gclid=1&utm_medium=m&wowzatokenhash=h", "")
	f(all, "v=1&t=2&start=3&end=4&id=5&key=6&st=7&q=8&_t=9&hash=0", "_t=9&end=4&hash=0&id=5&key=6&q=8&st=7&start=3&t=2&v=1")
}

// _HLS_ is a prefix that rfc8216bis §6.2.5 reserves, in capitals, for playlists.
func TestKeyHLS(t *testing.T) {
	rules := keyRules{ignore: defaultIgnore}
	f := func(path, query, want string) {
		t.Helper()
		if got := rules.from("", path, query).query; got != want {
			t.Errorf("%s?%s = %q, want %q", path, query, got, want)
		}
	}
	f("/a.m3u8", "_HLS_part=1&_HLS_msn=7&token=x", "_HLS_msn=7&_HLS_part=1")
	f("/a.M3U8", "_HLS_skip=YES", "_HLS_skip=YES")
	f("/a.m3u", "_HLS_msn=7", "_HLS_msn=7")
	f("/a.ts", "_HLS_msn=7&a=1", "a=1")
	f("/a.ts", "%5fHLS_msn=7", "")
	f("/a.m3u8.ts", "_HLS_msn=7", "")
	f("/m3u8", "_HLS_msn=7", "")
	f("/a.ts", "_hls_msn=7", "_hls_msn=7")
}

func TestKeyHost(t *testing.T) {
	rules := keyRules{host: true}
	f := func(host string, state *tls.ConnectionState, want string) {
		t.Helper()
		got := rules.of(&http.Request{Host: host, TLS: state, URL: &url.URL{Path: "/a", RawQuery: "b"}})
		if got.id != want || got.query != "b" {
			t.Errorf("of(%q) = %q, want %q", host, got, want)
		}
	}
	f("Example.COM", nil, "example.com\x00/a?b")
	f("example.com:80", nil, "example.com\x00/a?b")
	f("example.com:443", nil, "example.com:443\x00/a?b")
	f("example.com:443", &tls.ConnectionState{}, "example.com\x00/a?b")
	f("example.com:8080", nil, "example.com:8080\x00/a?b")
	f("[::1]:80", nil, "[::1]\x00/a?b")
	f("", nil, "\x00/a?b")
}

// Paths and queries that differ have ids that differ, whatever is in them.
func TestKeyIsUnambiguous(t *testing.T) {
	rules := keyRules{}
	seen := map[string][2]string{}
	for _, path := range []string{"/a", "/a?", "/a?b", "/a%3Fb", "/a%253Fb", "/a%", "/a%25", "/a?b?c"} {
		for _, query := range []string{"", "b", "b?c", "?", "b=", "c?b"} {
			k := rules.from("", path, query)
			if other, ok := seen[k.id]; ok {
				t.Errorf("%q and %q have the same id %q", [2]string{path, query}, other, k.id)
			}
			seen[k.id] = [2]string{path, query}
		}
	}
}

func TestKeyAllocatesNothing(t *testing.T) {
	rules := &keyRules{ignore: defaultIgnore}
	req := &http.Request{Host: "a", URL: &url.URL{Path: "/vod/film/segment-17.m4s"}}
	if got := testing.AllocsPerRun(100, func() { rules.of(req) }); got != 0 {
		t.Errorf("of allocates %v times, want none without a query", got)
	}
}

func FuzzKey(f *testing.F) {
	f.Add("/a.m3u8", "_HLS_msn=1&_HLS_part=2&token=x", uint64(1))
	f.Add("/a?b%", "b=%2d&a=1;c&utm_x=%zz&a=2&=&b", uint64(2))
	f.Add("/ü", "to%6Ben=1&%54OKEN&%5fHLS_x=%C3%bc+%20&%3d=%26", uint64(3))
	f.Fuzz(func(t *testing.T, path, query string, seed uint64) {
		rules := &keyRules{ignore: defaultIgnore}
		k := rules.from("", path, query)
		if again := rules.from("", path, k.query); again != k {
			t.Errorf("%q?%q: %q, and again %q", path, query, k, again)
		}
		if mixed := shuffled(query, seed); rules.from("", path, mixed) != k {
			t.Errorf("%q?%q: %q, but with the query %q %q", path, query, k, mixed, rules.from("", path, mixed))
		}
		for name := range strings.SplitSeq(k.query, "&") {
			name, _, _ = strings.Cut(name, "=")
			if plain, err := url.QueryUnescape(name); err == nil {
				name = plain
			}
			if k.query != "" && ignoredSlowly(strings.ToLower(name)) {
				t.Errorf("%q?%q: %q is ignored, but in %q", path, query, name, k)
			}
		}
		if p, q, _ := strings.Cut(k.id, "?"); q != k.query || unescaped(p) != path {
			t.Errorf("%q?%q: the id %q is of %q, %q", path, query, k.id, p, q)
		}
	})
}

func ignoredSlowly(name string) bool {
	return slices.Contains(defaultIgnore, name) || strings.HasPrefix(name, "utm_") || strings.HasPrefix(name, "wowzatoken")
}

func unescaped(path string) string {
	return strings.NewReplacer("%25", "%", "%3F", "?").Replace(path)
}

// shuffled puts the parameters of a query in another order, those of one name aside.
func shuffled(query string, seed uint64) string {
	pieces := strings.Split(query, "&")
	rnd := rand.New(rand.NewPCG(seed, seed))
	byName := map[string][]string{}
	order := make([]string, len(pieces))
	for i, p := range pieces {
		order[i] = normalParam(p).name
		byName[order[i]] = append(byName[order[i]], p)
	}
	rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i, name := range order {
		pieces[i], byName[name] = byName[name][0], byName[name][1:]
	}
	return strings.Join(pieces, "&")
}

func BenchmarkKey(b *testing.B) {
	f := func(name, path, query string) {
		b.Run(name, func(b *testing.B) {
			rules := &keyRules{ignore: defaultIgnore}
			req := &http.Request{URL: &url.URL{Path: path, RawQuery: query}}
			b.ReportAllocs()
			for b.Loop() {
				rules.of(req)
			}
		})
	}
	f("plain", "/vod/film/segment-17.m4s", "")
	f("reload", "/live/cam.m3u8", "_HLS_part=2&_HLS_msn=1234")
	f("token", "/live/17.ts", "token=0123456789abcdef&utm_source=a")
}
