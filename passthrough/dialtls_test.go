package passthrough

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/origintest"
)

// serverCert is a certificate of 127.0.0.1 that signs itself, as cameras have.
func serverCert(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "camera"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func writeCA(t *testing.T, file string, cert tls.Certificate) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTrust(t *testing.T) {
	cert := serverCert(t)
	o := startOrigin(t, origintest.Options{Addr: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	dir := t.TempDir()
	ca, other := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "other.pem")
	writeCA(t, ca, cert)
	writeCA(t, other, serverCert(t))
	sum := sha256.Sum256(cert.Certificate[0])
	wrong := sum
	wrong[31]++

	handshake := func(option string) error {
		t.Helper()
		b := balancer(t, "-origin", o.URL()+"#"+option)
		l := dial(t, b, proxy.Want{Path: "/live/clock"})
		c := tls.Client(l.Conn, l.TLS)
		probe := b.all()[0].checker.Do(t.Context(), Target{URL: b.all()[0].probeURL(), Addr: b.all()[0].addr, TLS: b.all()[0].tlsConfig()})
		err := c.HandshakeContext(t.Context())
		if (err == nil) != (probe == nil) {
			t.Errorf("%q: handshake %v, probe %v", option, err, probe)
		}
		return err
	}
	if err := handshake("ca=" + ca); err != nil {
		t.Errorf("with its own authority: %v", err)
	}
	if err := handshake("fingerprint=" + hex.EncodeToString(sum[:])); err != nil {
		t.Errorf("with its fingerprint: %v", err)
	}
	var authority x509.UnknownAuthorityError
	if err := handshake("ca=" + other); !errors.As(err, &authority) {
		t.Errorf("with another authority: %v", err)
	}
	if err := handshake(""); !errors.As(err, &authority) {
		t.Errorf("with the system's authorities: %v", err)
	}
	if err := handshake("fingerprint=" + hex.EncodeToString(wrong[:])); !errors.Is(err, errFingerprint) {
		t.Errorf("with another fingerprint: %v", err)
	}
}
