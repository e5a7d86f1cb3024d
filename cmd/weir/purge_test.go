package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A fakeDoor is a node's, with a cache that has three of everything.
type fakeDoor struct {
	*httptest.Server
	orders []purgeOrder
	token  string
}

func newFakeDoor(t *testing.T, token string) *fakeDoor {
	d := &fakeDoor{token: token}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /cache/purge", d.purge)
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

func (d *fakeDoor) purge(w http.ResponseWriter, r *http.Request) {
	if d.token != "" && r.Header.Get("Authorization") != "Bearer "+d.token {
		http.Error(w, "The token is needed.", http.StatusUnauthorized)
		return
	}
	var o purgeOrder
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&o); err != nil || len(o.URLs) > 1000 {
		http.Error(w, fmt.Sprint("too much, or ", err), http.StatusBadRequest)
		return
	}
	d.orders = append(d.orders, o)
	fmt.Fprintf(w, `{"purged":%d}`, 3*max(1, len(o.URLs)))
}

// runPurge runs the command, and returns what it prints.
func runPurge(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := purgeCommand(t.Context(), invocation{args: args, stdout: &out, stderr: io.Discard})
	return out.String(), err
}

func TestPurgeCommand(t *testing.T) {
	f := func(args, order, want string) {
		t.Helper()
		d := newFakeDoor(t, "")
		got, err := runPurge(t, append([]string{"-admin", d.URL}, strings.Fields(args)...)...)
		orders, _ := json.Marshal(d.orders)
		if err != nil || string(orders) != order || got != want {
			t.Errorf("%s: %q %v, ordered %s, want %q %s", args, got, err, orders, want, order)
		}
	}
	f("/live/a.ts http://cdn/b?c=1", `[{"urls":["/live/a.ts","http://cdn/b?c=1"]}]`, "6 objects purged\n")
	f("-prefix /live/", `[{"prefix":"/live/"}]`, "3 objects purged\n")
	f("-soft -tag title", `[{"tag":"title","soft":true}]`, "3 objects to be validated before use\n")
}

// TestPurgeCommandBatches: the door takes only so much at once.
func TestPurgeCommandBatches(t *testing.T) {
	f := func(n int, url string, calls int) {
		t.Helper()
		d := newFakeDoor(t, "")
		args := []string{"-admin", d.Listener.Addr().String()}
		for i := range n {
			args = append(args, fmt.Sprintf("%s%d", url, i))
		}
		got, err := runPurge(t, args...)
		if err != nil || len(d.orders) != calls || got != fmt.Sprintf("%d objects purged\n", 3*n) {
			t.Errorf("%d URLs: %d calls, %q %v, want %d", n, len(d.orders), got, err, calls)
		}
	}
	f(1, "/a", 1)
	f(1000, "/a", 1)
	f(2500, "/a", 3)
	f(100, "/a?"+strings.Repeat("&", 1000), 5)
}

func TestPurgeCommandEnvironment(t *testing.T) {
	d := newFakeDoor(t, "secret")
	t.Setenv("WEIR_ADMIN", d.URL)
	t.Setenv("WEIR_ADMIN_TOKEN", "secret")
	if got, err := runPurge(t, "/a"); err != nil || got != "3 objects purged\n" {
		t.Errorf("%q %v", got, err)
	}
}

// TestPurgeCommandFile: the file may be the node's, with flags that the command
// does not have.
func TestPurgeCommandFile(t *testing.T) {
	d := newFakeDoor(t, "secret")
	file := filepath.Join(t.TempDir(), "weir.yaml")
	must(t, os.WriteFile(file, []byte("admin: "+d.URL+"\nadmin.token: secret\nsplitter.linger: 3s\n"), 0o600))
	if got, err := runPurge(t, "-config", file, "/a"); err != nil || got != "3 objects purged\n" {
		t.Errorf("%q %v", got, err)
	}
}

func TestPurgeCommandErrors(t *testing.T) {
	f := func(want string, usage bool, args ...string) {
		t.Helper()
		got, err := runPurge(t, args...)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, errUsage) != usage || got != "" {
			t.Errorf("%q: %q %v, want %s (a mistake in the command line: %v)", args, got, err, want, usage)
		}
	}
	guarded, none := newFakeDoor(t, "secret"), httptest.NewServer(http.NotFoundHandler())
	defer none.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }))
	defer other.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `"x" is neither`, http.StatusBadRequest)
	}))
	defer refusing.Close()
	moved := httptest.NewServer(http.RedirectHandler(guarded.URL, http.StatusTemporaryRedirect))
	defer moved.Close()
	f("is the node running, and is -admin right?", false, "-admin", unusedAddr(t), "/a")
	f("asks for its token: set WEIR_ADMIN_TOKEN", false, "-admin", guarded.URL, "/a")
	f("has another token", false, "-admin", guarded.URL, "-admin.token", "wrong", "/a")
	f("has no cache", false, "-admin", none.URL, "/a")
	f("is this the door of a node?", false, "-admin", other.URL, "/a")
	f(`status 400: "x" is neither`, false, "-admin", refusing.URL, "x")
	f("status 307", false, "-admin", moved.URL, "-admin.token", "secret", "/a")
	f("say what to purge", true)
	f("say what to purge", true, "-tag", "a", "/b")
	f("-soft must stand before", true, "/a", "-soft")
	f("neither host:port nor", true, "-admin", "ftp://x", "/a")
	f("not-a-flag", true, "-not-a-flag")
	if len(guarded.orders) > 0 {
		t.Errorf("without its token, the node was ordered %v", guarded.orders)
	}
}

// unusedAddr is one where nobody listens.
func unusedAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l.Close()
	return l.Addr().String()
}

// TestPurgeCommandStops at a signal, though the node does not answer.
func TestPurgeCommandStops(t *testing.T) {
	signals := make(chan os.Signal, 1)
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // or the server would not see it go
		signals <- syscall.SIGINT
		<-r.Context().Done()
	}))
	defer silent.Close()
	var out bytes.Buffer
	err := purgeCommand(context.Background(), invocation{[]string{"-admin", silent.URL, "-prefix", "/"}, signals, &out, &out})
	if !errors.Is(err, errInterrupted) {
		t.Errorf("%v, want %v", err, errInterrupted)
	}
}
