package forward_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"testing"

	"weir/proxy"
	"weir/proxy/forward"
)

// request is what Request makes of a GET from an address, without what every
// request is given.
func request(addr string, h http.Header) http.Header {
	req := httptest.NewRequest("GET", "http://edge.example/x", nil)
	req.Header = h
	if addr != "" {
		v := &proxy.Viewer{Addr: netip.MustParseAddrPort(addr)}
		req = req.WithContext(proxy.WithViewer(req.Context(), v))
	}
	return forward.Request(req, "me").Header
}

func TestRequestHeader(t *testing.T) {
	f := func(in, want http.Header) {
		t.Helper()
		before := in.Clone()
		got := request("", in)
		if got.Get("Via") == "" || len(got["User-Agent"]) != 1 {
			t.Errorf("%v: Via %q, User-Agent %q", in, got["Via"], got["User-Agent"])
		}
		delete(got, "Via")
		delete(got, "User-Agent")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v\nbecomes %v\nwant    %v", in, got, want)
		}
		if !reflect.DeepEqual(in, before) {
			t.Errorf("%v was changed to %v", before, in)
		}
	}
	h := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Add(kv[i], kv[i+1])
		}
		return h
	}
	f(h("Accept", "a", "Accept", "b", "Range", "bytes=0-1", "Expect", "100-continue"), h("Accept", "a", "Accept", "b", "Range", "bytes=0-1", "Expect", "100-continue"))
	f(h("Connection", "keep-alive, X-Hop", "Connection", " x-other", "X-Hop", "1", "X-Other", "1", "X-Stays", "1"), h("X-Stays", "1"))
	f(h("Keep-Alive", "1", "Proxy-Connection", "x", "Proxy-Authorization", "x", "Te", "gzip", "Transfer-Encoding", "chunked", "Trailer", "X", "Upgrade", "x"), h())
	f(h("Te", "gzip;q=0.5, trailers"), h("Te", "trailers"))
	f(h("Connection", "te", "Te", "trailers"), h("Te", "trailers"))
	f(h("Connection", "host, content-length, content-type, authorization, range, if-range, cookie, cache-control, expect",
		"Content-Type", "a", "Authorization", "b", "Range", "c", "If-Range", "d", "Cookie", "e", "Cache-Control", "f"),
		h("Content-Type", "a", "Authorization", "b", "Range", "c", "If-Range", "d", "Cookie", "e", "Cache-Control", "f"))
	f(h("Forwarded", "for=1.2.3.4", "X-Forwarded-For", "x", "X-Forwarded-Host", "x", "X-Forwarded-Proto", "x", "X-Forwarded-Prefix", "x",
		"X_forwarded_for", "x", "X-Real-Ip", "x", "Weir-Peer", "x", "Weir-Other", "y"), h("Weir-Other", "y"))
	f(h("Connection", "Upgrade", "Upgrade", "websocket", "Sec-Websocket-Key", "k"), h("Connection", "Upgrade", "Upgrade", "websocket", "Sec-Websocket-Key", "k"))
	f(h("Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "Http2-Settings", "x"), h())
	f(h("Connection", "upgrade", "Upgrade", "websocket, TLS/1.0"), h())
	f(h("Connection", "upgrade", "Upgrade", "web\x7fsocket"), h())
	f(h("Upgrade", "websocket"), h())
}

func TestRequestSaysWhoAsks(t *testing.T) {
	f := func(addr, host string, secure bool, forwarded, xff, proto, xhost string) {
		t.Helper()
		req := httptest.NewRequest("GET", "/x", nil)
		req.Host = host
		req.Header.Set("X-Forwarded-For", "6.6.6.6")
		req.Header.Set("Forwarded", "for=6.6.6.6")
		req.Header.Set("Connection", "forwarded, x-forwarded-for, x-forwarded-host, via")
		if secure {
			req.TLS = &tls.ConnectionState{}
		}
		req = req.WithContext(proxy.WithViewer(req.Context(), &proxy.Viewer{Addr: netip.MustParseAddrPort(addr)}))
		h := forward.Request(req, "me").Header
		if h.Get("Forwarded") != forwarded || h.Get("X-Forwarded-For") != xff || h.Get("X-Forwarded-Proto") != proto || h.Get("X-Forwarded-Host") != xhost {
			t.Errorf("%s %s: %v", addr, host, h)
		}
	}
	f("192.0.2.1:4711", "edge:8080", false, `for=192.0.2.1;host="edge:8080";proto=http`, "192.0.2.1", "http", "edge:8080")
	f("[2001:db8::1]:4711", "edge", true, `for="[2001:db8::1]";host="edge";proto=https`, "2001:db8::1", "https", "edge")
	f("[::ffff:192.0.2.1]:4711", "edge", false, `for=192.0.2.1;host="edge";proto=http`, "192.0.2.1", "http", "edge")
	f("192.0.2.1:4711", "", false, `for=192.0.2.1;proto=http`, "192.0.2.1", "http", "")
	for name := range request("", http.Header{"Forwarded": {"x"}}) {
		if name != "Via" && name != "User-Agent" {
			t.Errorf("a request of the edge itself has %s", name)
		}
	}
}

func TestVia(t *testing.T) {
	f := func(major, minor int, before, want string) {
		t.Helper()
		req := httptest.NewRequest("GET", "/x", nil)
		req.ProtoMajor, req.ProtoMinor = major, minor
		if before != "" {
			req.Header.Set("Via", before)
		}
		if got := forward.Request(req, "me").Header["Via"]; len(got) != 1 || got[0] != want {
			t.Errorf("HTTP/%d.%d, Via %q becomes %q, want %q", major, minor, before, got, want)
		}
	}
	f(1, 1, "", "1.1 me")
	f(1, 0, "1.1 other (x)", "1.1 other (x), 1.0 me")
	f(2, 0, "", "2.0 me")
}

func TestLooped(t *testing.T) {
	f := func(via string, want bool) {
		t.Helper()
		if got := forward.Looped(http.Header{"Via": {"1.1 first", via}}, "me"); got != want {
			t.Errorf("Looped(%q) = %v, want %v", via, got, want)
		}
	}
	f("", false)
	f("1.1 other", false)
	f("1.1 meme, 1.1 me2", false)
	f("1.1 me", true)
	f("1.1 a, 2.0 me (comment), 1.1 b", true)
	f("me", false)
}

func TestResponseHeader(t *testing.T) {
	f := func(code int, in, want http.Header) {
		t.Helper()
		res := &http.Response{StatusCode: code, ProtoMajor: 1, ProtoMinor: 1, Header: in}
		forward.Response(res, "me")
		if want.Set("Via", "1.1 me"); !reflect.DeepEqual(res.Header, want) {
			t.Errorf("becomes %v\nwant    %v", res.Header, want)
		}
	}
	f(200, nil, http.Header{})
	f(200, http.Header{"Connection": {"X-Hop, etag, content-length"}, "X-Hop": {"1"}, "Etag": {"e"}, "Content-Length": {"3"}, "Date": {"d"}, "Server": {"s"}},
		http.Header{"Etag": {"e"}, "Content-Length": {"3"}, "Date": {"d"}, "Server": {"s"}})
	f(200, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Keep-Alive": {"x"}, "Proxy-Authenticate": {"x"}, "Te": {"trailers"}}, http.Header{})
	f(101, http.Header{"Connection": {"upgrade"}, "Upgrade": {"websocket"}}, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}})
}
