package passthrough

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"os"
	"strings"
)

// trust is whom an origin's certificate is checked against: the system's
// authorities, those of a file, or nobody but the one certificate with a
// fingerprint, as cameras have that sign their own.
type trust struct {
	roots       *x509.CertPool
	fingerprint []byte // SHA-256 of the leaf
}

func (t *trust) readCA(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a file") // a device may never end
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	t.roots = x509.NewCertPool()
	if !t.roots.AppendCertsFromPEM(pem) {
		return errors.New("no certificate in PEM in the file")
	}
	return nil
}

func (t *trust) readFingerprint(s string) error {
	sum, err := hex.DecodeString(strings.ReplaceAll(s, ":", "")) // openssl writes colons
	if err != nil || len(sum) != sha256.Size {
		return errors.New("must be 64 hexadecimal digits, the SHA-256 of the certificate")
	}
	t.fingerprint = sum
	return nil
}

func (t *trust) check(secure bool) error {
	switch {
	case t.roots != nil && t.fingerprint != nil:
		return errors.New("ca, fingerprint: one of them at most")
	case !secure && (t.roots != nil || t.fingerprint != nil):
		return errors.New("ca, fingerprint: only for rtsps:// and https://")
	}
	return nil
}

var errFingerprint = errors.New("the certificate has another fingerprint")

// verify compares the leaf's fingerprint.
func (t *trust) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errFingerprint
	}
	sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
	if subtle.ConstantTimeCompare(sum[:], t.fingerprint) != 1 {
		return errFingerprint
	}
	return nil
}

// tlsConfig is nil where the site speaks in the clear; else the caller's own.
func (s *site) tlsConfig() *tls.Config {
	if !s.secure() {
		return nil
	}
	host, _, _ := strings.Cut(s.url.Hostname(), "%") // a zone is in no certificate
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: s.trust.roots}
	if s.trust.fingerprint != nil {
		cfg.InsecureSkipVerify = true // VerifyConnection does instead
		cfg.VerifyConnection = s.trust.verify
	}
	return cfg
}
