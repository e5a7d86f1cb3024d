package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// Times between which certificates of tests are valid; the clock of a bubble
// starts in 2000.
var (
	notBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
)

// writePair makes a certificate of 127.0.0.1 that signs itself, and writes
// cert.pem and key.pem to dir.
func writePair(t testing.TB, dir, name string, notAfter time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{"edge"}, NotBefore: notBefore, NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", secret)
	return cert, key
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// nameIn is whose certificate connections are shown.
func nameIn(p *keyPair) string {
	pair, _ := p.certificate(&tls.ClientHelloInfo{})
	return pair.Leaf.Subject.CommonName
}

func TestKeyPairAtStart(t *testing.T) {
	dir := t.TempDir()
	cert, key := writePair(t, dir, "one", notAfter)
	other, err := os.MkdirTemp(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey := writePair(t, other, "two", notAfter)
	f := func(cert, key, want string) {
		t.Helper()
		want = "read -tls.cert " + cert + " and -tls.key " + key + ": " + want
		_, err := New(Config{Options: Options{HTTPS: "127.0.0.1:0", Cert: cert, Key: key},
			Handler: proxy.Refuse, Gate: proxy.Open, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		if err == nil || err.Error() != want {
			t.Errorf("New: %v, want %s", err, want)
		}
	}
	f("no.pem", key, "open no.pem: no such file or directory")
	f(cert, "no.pem", "open no.pem: no such file or directory")
	f(cert, otherKey, "tls: private key does not match public key")
	f(key, key, "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched")
	f("keypair_test.go", key, "tls: failed to find any PEM data in certificate input")
}

// A renewed pair is in use within a second, however it got there; a broken one
// is said once, and the last good one goes on.
func TestKeyPairChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		dir := t.TempDir()
		cert, key := writePair(t, dir, "one", notAfter)
		d := openPipes(t, ladder{}, func(c *Config) {
			c.RTSPS, c.Cert, c.Key, c.Log = "127.0.0.1:0", cert, key, zap.New(core)
		})
		synctest.Wait()
		logs.TakeAll()      // of the start
		pass(lookEvery / 2) // files change between two looks
		f := func(name string, broken bool, warnings, infos int) {
			t.Helper()
			pass(5 * lookEvery)
			if got := nameIn(d.pair); got != name {
				t.Errorf("certificate of %s, want %s", got, name)
			}
			var degraded proxy.Degraded
			if got := errors.As(d.Ready(), &degraded); got != broken {
				t.Errorf("Ready: %v", d.Ready())
			}
			if got := d.pair.status().Error != ""; got != broken {
				t.Errorf("status %+v", d.pair.status())
			}
			all := logs.TakeAll()
			warned := 0
			for _, e := range all {
				if e.Level == zapcore.WarnLevel {
					warned++
				} else if e.ContextMap()["not_after"] == nil {
					t.Errorf("%q does not tell until when", e.Message)
				}
			}
			if warned != warnings || len(all)-warned != infos {
				t.Errorf("logged %v, want %d warnings and %d more", all, warnings, infos)
			}
		}
		f("one", false, 0, 0)
		writePair(t, dir, "two", notAfter)
		f("two", false, 0, 1)
		os.WriteFile(cert, []byte("half a certif"), 0o600) //nolint:errcheck // seen below
		f("two", true, 1, 0)
		f("two", true, 0, 0)
		os.Remove(cert) //nolint:errcheck // seen below
		f("two", true, 1, 0)
		f("two", true, 0, 0)
		writePair(t, dir, "three", notAfter)
		f("three", false, 0, 1)
	})
}

// Kubernetes mounts a folder as a link to a link and swaps the inner one: no
// file that was there has changed.
func TestKeyPairBehindLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		mount := func(name string) {
			os.Mkdir(filepath.Join(dir, name), 0o700) //nolint:errcheck // writePair says it
			writePair(t, filepath.Join(dir, name), name, notAfter)
			link := filepath.Join(dir, "..data")
			if err := errors.Join(os.Symlink(name, link+"_tmp"), os.Rename(link+"_tmp", link)); err != nil {
				t.Fatal(err)
			}
		}
		mount("one")
		p, err := readKeyPair(filepath.Join(dir, "..data", "cert.pem"), filepath.Join(dir, "..data", "key.pem"), "", proxytest.Logger(t))
		if err != nil {
			t.Fatal(err)
		}
		mount("two")
		if p.look(); nameIn(p) != "two" {
			t.Errorf("certificate of %s, want two", nameIn(p))
		}
	})
}

func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, key := writePair(t, t.TempDir(), "one", time.Now().Add(time.Hour))
		reg := prometheus.NewRegistry()
		d := openPipes(t, ladder{}, func(c *Config) { c.HTTPS, c.Cert, c.Key, c.Metrics = "127.0.0.1:0", cert, key, reg })
		if err := d.Ready(); err != nil {
			t.Errorf("an hour before: %v", err)
		}
		pass(time.Hour + time.Second)
		var degraded proxy.Degraded
		if err := d.Ready(); !errors.As(err, &degraded) || !strings.Contains(err.Error(), "expired at 2000-01-01T01:00:00Z") {
			t.Errorf("after: %v", err)
		}
		d.Drain()
		if err := d.Ready(); err == nil || errors.As(err, &degraded) {
			t.Errorf("draining: %v", err)
		}
	})
}
