package passthrough

import (
	"net/http"
	"testing"
)

func TestLocation(t *testing.T) {
	f := func(base, host, in, want string) {
		t.Helper()
		o := webBalancer(t, "-origin", base).all()[0]
		h := http.Header{"Location": {in}, "Content-Location": {in}, "Link": {in}}
		o.relocate(h, host)
		if got := h.Get("Location"); got != want || h.Get("Content-Location") != want || h.Get("Link") != in {
			t.Errorf("%s: Location %q becomes %q, want %q", base, in, got, want)
		}
	}
	f("http://o:8080/base", "", "http://o:8080/base/x?y=%20#z", "/x?y=%20#z")
	f("http://o:8080/base", "", "http://O:8080/base", "/")
	f("http://o:8080/base/", "", "//o:8080/base/a%2Fb", "/a%2Fb")
	f("http://o:8080/base", "", "/base/x", "/x")
	f("http://o:8080/base", "", "/based/x", "/based/x")
	f("http://o:8080/base", "", "http://o:8080/other", "http://o:8080/other")
	f("http://o:8080/base", "", "http://o:9090/base/x", "http://o:9090/base/x")
	f("http://o:8080/base", "", "http://elsewhere/base/x", "http://elsewhere/base/x")
	f("http://o:8080/base", "", "x/y", "x/y")
	f("http://o:8080/base", "", "?q", "?q")
	f("http://o", "", "http://o:80/x", "/x")
	f("http://o", "", "http://o", "/")
	f("http://o", "", "https://o/x", "https://o/x")
	f("https://o:443", "", "https://o/x", "/x")
	f("http://u:p@o", "", "http://o/x", "/x")
	f("http://o", "edge.example", "http://edge.example/x", "/x")
	f("http://o", "", "http://o//evil.example/x", "/evil.example/x")
	f("http://o/base", "", "/base//evil.example", "/evil.example")
	f("http://o", "", "mailto:x", "mailto:x")
	f("http://o", "", "http://o/%zz", "http://o/%zz")
}
