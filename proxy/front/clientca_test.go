package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// TestClientCertificates: who has a certificate of a known authority is known by
// its name, others are not let in; an authority that is taken out of the file is
// one no more.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	pair := func(name string) (tls.Certificate, string) {
		cert, key := writePair(t, t.TempDir(), name, time.Now().Add(time.Hour)) // its own authority
		c, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return c, cert
	}
	ann, annFile := pair("ann")
	bob, bobFile := pair("bob")
	authorities := filepath.Join(dir, "authorities.pem")
	know := func(file string) {
		t.Helper()
		b, err := os.ReadFile(file)
		if err := errors.Join(err, os.WriteFile(authorities+"_", b, 0o600), os.Rename(authorities+"_", authorities)); err != nil {
			t.Fatal(err)
		}
	}
	know(annFile)
	names := make(chan string, 10)
	l := ladder{
		rtsp: func(_ context.Context, c *proxy.RTSPConn) { names <- c.Viewer.Certificate },
		http: func(_ http.ResponseWriter, r *http.Request) { names <- proxy.ViewerFrom(r.Context()).Certificate },
	}
	change, trust := underTLS(t)
	for _, auth := range []string{"require", "optional"} {
		d := open(t, l, change, func(c *Config) { c.ClientCA, c.ClientAuth = authorities, auth })
		// rtsp and web return who the ladder takes the viewer for; "refused" if it never saw him.
		taken := func(refused bool) string {
			if refused {
				return "refused"
			}
			return <-names
		}
		rtsp := func(certs ...tls.Certificate) string {
			own := trust.Clone()
			own.Certificates = certs
			c := d.client(t, over(d.dialRTSPS, own))
			io.WriteString(c, describe)
			select {
			case n := <-names:
				return n
			case <-closedSoon(c):
				return taken(len(names) == 0)
			}
		}
		web := func(certs ...tls.Certificate) string {
			own := trust.Clone()
			own.Certificates = certs
			b := d.browser(t, own)
			res, err := b.Get("https://" + d.HTTPSAddr().String() + "/cam")
			if err == nil {
				res.Body.Close()
			}
			return taken(err != nil)
		}
		without := map[string]string{"require": "refused", "optional": ""}[auth]
		for _, via := range []func(...tls.Certificate) string{rtsp, web} {
			know(annFile)
			proxytest.Eventually(t, 5*time.Second, "ann is known", func() bool { return via(ann) == "ann" })
			if n := via(); n != without {
				t.Errorf("%s: without a certificate: %q, want %q", auth, n, without)
			}
			know(bobFile)
			proxytest.Eventually(t, 5*time.Second, "bob is known, ann no more", func() bool { return via(bob) == "bob" && via(ann) != "ann" })
		}
	}
}

// closedSoon is closed when the other side has closed c.
func closedSoon(c io.Reader) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, c)
		close(done)
	}()
	return done
}

// TestClientCertificatesAreAlwaysChecked: nobody comes back by a ticket, which would
// outlive his authority.
func TestClientCertificatesAreAlwaysChecked(t *testing.T) {
	cert, key := writePair(t, t.TempDir(), "ann", time.Now().Add(time.Hour))
	ann, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	change, trust := underTLS(t)
	d := open(t, ladder{}, change, func(c *Config) { c.ClientCA, c.ClientAuth = cert, "require" })
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		own := trust.Clone()
		own.Certificates, own.MaxVersion, own.ClientSessionCache = []tls.Certificate{ann}, version, tls.NewLRUClientSessionCache(9)
		for range 2 {
			c := d.client(t, over(d.dialRTSPS, own))
			c.send(options)
			c.answer() // a ticket would have come with it
			if c.Conn.(*tls.Conn).ConnectionState().DidResume {
				t.Errorf("%s: resumed", tls.VersionName(version))
			}
		}
	}
}
