package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

func TestReady(t *testing.T) {
	f := func(code int, want string, errs ...error) {
		t.Helper()
		var parts []Named
		for i, err := range errs {
			parts = append(parts, Named{fmt.Sprintf("p%d", i), fakePart{ready: err}})
		}
		addr := start(t, Options{}, config(parts...)).Addr().String()
		got := ask(t, "GET", addr, "/readyz?verbose", "")
		if got.code != code || got.body != want {
			t.Errorf("readyz of %v = %d %q, want %d %q", errs, got.code, got.body, code, want)
		}
		if got := ask(t, "GET", addr, "/readyz", ""); got.code != code || strings.Contains(got.body, "p0") {
			t.Errorf("terse readyz of %v = %d %q, want %d and no parts", errs, got.code, got.body, code)
		}
	}
	f(200, "")
	f(200, "[+] p0 ok\n", nil)
	f(200, "[+] p0 ok\n[~] p1 degraded: no origin answers\n", nil, proxy.Degraded("no origin answers"))
	f(200, "[~] p0 degraded: feeds: slow\n", fmt.Errorf("feeds: %w", proxy.Degraded("slow")))
	f(503, "[-] p0: no origin\n[+] p1 ok\n", errors.New("no origin"), nil)
	f(503, "[-] p0: it said  [+] p0 ok\n", errors.New("it said\r\n[+] p0 ok"))
}

func TestDrain(t *testing.T) {
	a := start(t, Options{}, config(Named{"splitter", fakePart{}}))
	get200(t, a, "/readyz")
	a.Drain()
	a.Drain()
	addr := a.Addr().String()
	codes(t, addr, []string{"/readyz"}, 503)
	if got := ask(t, "GET", addr, "/readyz?verbose", ""); got.code != 503 || got.body != "[+] splitter ok\n[-] draining\n" {
		t.Errorf("verbose = %d %q", got.code, got.body)
	}
	codes(t, addr, []string{"/livez", "/healthz", "/status.json"}, 200)
	if page := get200(t, a, "/").body; !strings.Contains(page, ">draining<") {
		t.Error("the page does not say draining")
	}
}

func TestCheck(t *testing.T) {
	ctx := context.Background()
	f := func(base, token, want string) {
		t.Helper()
		got := ""
		if err := Check(ctx, base, token); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Check(%q, %q) = %q, want %q", base, token, got, want)
		}
	}
	parts := []Named{{"splitter", fakePart{ready: proxy.Degraded("slow")}}, {"passthrough", fakePart{}}}
	up := start(t, Options{}, config(parts...))
	addr := up.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	f(addr, "", "")
	f("http://"+addr, "", "")
	f("http://user:pass@"+addr+"/", "", "")
	f(":"+port, "", "")
	up.Drain()
	f(addr, "", "node at http://"+addr+" is not ready: draining")

	parts[1].Part = fakePart{ready: errors.New("no origin is up")}
	down := start(t, Options{Token: "s3cret"}, config(parts...)).Addr().String()
	f(down, "", "node at http://"+down+" is not ready: passthrough")
	f(down, "s3cret", "node at http://"+down+" is not ready: passthrough: no origin is up")
	f("http://"+addr+"/elsewhere", "", "check http://"+addr+"/elsewhere: status 404: is this the door of a node?")
	f("http://", "", `check: "http://" is neither host:port nor a URL`)
}

func TestCheckNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := Check(ctx, addr, ""); !errors.Is(err, context.DeadlineExceeded) { // accepts and says nothing
		t.Errorf("Check of a silent node = %v, want deadline exceeded", err)
	}
	ln.Close()
	if err := Check(context.Background(), "http://u:secret@"+addr, ""); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Check of nobody = %v, want an error without the password", err)
	}
}
