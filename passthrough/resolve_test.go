package passthrough

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// A nameServer is what tests ask instead of the system's resolver.
type nameServer struct {
	mu      sync.Mutex
	records map[string][]string
}

func (n *nameServer) set(host string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.records == nil {
		n.records = map[string][]string{}
	}
	n.records[host] = addrs
}

func (n *nameServer) lookup(_ context.Context, host string) (addrs []netip.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	records, ok := n.records[host]
	if !ok {
		return nil, errors.New("no such host")
	}
	for _, r := range records {
		addrs = append(addrs, netip.MustParseAddr(r))
	}
	return addrs, nil
}

// origins returns the names and addresses of all origins.
func origins(b *Balancer) string {
	var all []string
	for _, o := range b.all() {
		all = append(all, o.name+"="+o.addr)
	}
	return strings.Join(all, " ")
}

func TestNamesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, dns, n := balancer(t, "-origin", "http://cdn/base", "-origin", "http://10.9.9.9:81", "-splitter.source", "/cam=rtsp://camera/x"), &nameServer{}, newNetwork()
		b.lookup, b.dial = dns.lookup, n.dial
		dns.set("cdn", "10.0.0.2", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1")
		dns.set("camera", "10.0.0.7")
		f := func(what, want string) {
			t.Helper()
			synctest.Wait()
			if got := origins(b); got != want+" 10.9.9.9:81=10.9.9.9:81 camera:554=10.0.0.7:554" {
				t.Errorf("%s: origins = %s, want %s …", what, got, want)
			}
		}
		if got := origins(b); got != "cdn:80/base=cdn:80 10.9.9.9:81=10.9.9.9:81 camera:554=camera:554" {
			t.Errorf("before Run: %s", got)
		}
		run(t, b)
		f("at the start", "cdn:80/base@10.0.0.1=10.0.0.1:80 cdn:80/base@10.0.0.2=10.0.0.2:80 cdn:80/base@2001:db8::1=[2001:db8::1]:80")
		if got := who(t, b, query{web: true, path: "/", origin: "cdn"}); len(got) != 3 {
			t.Errorf("the host and port name %q, want all three", got)
		}

		kept := b.all()[0]
		leave := kept.enter()
		b.failed(kept, errors.New("reset"))
		dns.set("cdn", "10.0.0.1")
		time.Sleep(30 * time.Second)
		f("one is left", "cdn:80/base=10.0.0.1:80")
		if s := status(b)[0]; s.Sessions != 1 || s.LastError != "reset" || s.Probes < 6 {
			t.Errorf("the one that stays has lost what is known of it: %+v", s)
		}
		leave()
		if s := status(b)[0]; s.Sessions != 0 {
			t.Errorf("a session that began under its old name has left: %+v", s)
		}

		dns.set("cdn")
		time.Sleep(30 * time.Second)
		f("no address", "cdn:80/base=10.0.0.1:80")
		if s := status(b)[0]; !strings.Contains(s.LastError, "no address") {
			t.Errorf("status = %+v", s)
		}
		dns.set("cdn", "10.0.0.3")
		time.Sleep(30 * time.Second)
		f("another address", "cdn:80/base=10.0.0.3:80")
		if s := status(b)[0]; s.State != "up" || s.LastError != "" {
			t.Errorf("the new one has what was known of the old: %+v", s)
		}
		n.gaps("10.0.0.1:80")
		time.Sleep(time.Minute)
		if gaps := n.gaps("10.0.0.1:80"); len(gaps) > 0 {
			t.Errorf("the address that is gone is still probed")
		}
	})
}

// Before the first look-up, and when it fails, a name is dialed as it is.
func TestUnresolvedIsDialedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := balancer(t, "-origin", "http://cdn"), newNetwork()
		dns := &nameServer{}
		b.lookup, b.dial = dns.lookup, n.dial
		c, err := b.connect(t.Context(), b.all()[0])
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		run(t, b)
		synctest.Wait()
		if got := origins(b); got != "cdn:80=cdn:80" || len(n.gaps("cdn:80")) != 1 {
			t.Errorf("origins = %s, want the name, dialed and probed", got)
		}
		dns.set("cdn", "10.0.0.1")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s := status(b)[0]; origins(b) != "cdn:80=10.0.0.1:80" || s.Dials != 1 {
			t.Errorf("once it is found: %s, %+v, want what was known of it kept", origins(b), s)
		}
	})
}

// Two records of one name: sessions are shared, and an address that is removed
// gets no more, while the link to it lives on.
func TestTwoRecords(t *testing.T) {
	v4, conns := listen(t, "127.0.0.1")
	_, port, err := net.SplitHostPort(v4)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Skipf("no 127.0.0.2 here: %v", err)
	}
	second, done := make(chan net.Conn, 16), make(chan struct{})
	go acceptAll(l, second, done)
	t.Cleanup(func() { l.Close(); <-done })

	dns := &nameServer{}
	dns.set("pair.example", "127.0.0.1", "127.0.0.2")
	b := balancer(t, inTurn, "-origin.resolve", "10ms", "-origin.check", "0", "-origin", "rtsp://pair.example:"+port+"/live")
	b.lookup = dns.lookup
	run(t, b)
	wait := func(what string, n int) {
		t.Helper()
		proxytest.Eventually(t, 5*time.Second, what, func() bool { return len(b.all()) == n && b.all()[0].addr != "pair.example:"+port })
	}
	wait("both are found", 2)
	seen := map[string]int{}
	var link *proxy.Link
	for range 6 {
		l := dial(t, b, proxy.Want{Path: "/x"})
		seen[l.Origin]++
		if strings.HasSuffix(l.Origin, "@127.0.0.2") {
			link = l
		}
		if got := l.URL.String(); got != "rtsp://pair.example:"+port+"/live/x" {
			t.Errorf("asked for %s", got)
		}
	}
	name := "pair.example:" + port + "/live"
	if want := map[string]int{name + "@127.0.0.1": 3, name + "@127.0.0.2": 3}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("sessions = %v, want %v", seen, want)
	}
	dns.set("pair.example", "127.0.0.1")
	wait("one is gone", 1)
	for range 4 {
		if got := dial(t, b, proxy.Want{Path: "/x"}).Origin; got != name {
			t.Errorf("origin = %s, want %s", got, name)
		}
	}
	for range 3 {
		c := <-second
		defer c.Close()
		if c.RemoteAddr().String() != link.LocalAddr().String() {
			continue
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	}
	if n, err := link.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the link to an address that was removed: %d bytes, %v", n, err)
	}
	proxytest.Eventually(t, 5*time.Second, "seven connections at the one that stays", func() bool { return len(conns) == 7 })
}

// The system's resolver is asked, and what it says can be dialed.
func TestSystemResolver(t *testing.T) {
	addr, _ := listen(t, "127.0.0.1")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.LookupHost("localhost"); err != nil {
		t.Skipf("no localhost here: %v", err)
	}
	b := balancer(t, "-origin", "rtsp://localhost:"+port, "-origin.check", "0")
	run(t, b)
	proxytest.Eventually(t, 5*time.Second, "localhost is found", func() bool { return b.all()[0].addr != "localhost:"+port })
	if got := dial(t, b, proxy.Want{Path: "/"}).RemoteAddr().String(); got != addr {
		t.Errorf("dialed %s, want %s", got, addr)
	}
}
