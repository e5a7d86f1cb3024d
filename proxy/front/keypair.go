package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// lookEvery is how often the files of a keyPair are looked at. Whoever renews a
// certificate writes two files, one after the other: between them is an error
// that lasts no longer than this.
const lookEvery = time.Second

// A keyPair is the certificate of this node and its private key, and the
// authorities of viewers' certificates, as files that are replaced now and then.
// Whatever happens to the files, what was good last goes on.
type keyPair struct {
	certFile, keyFile, clientFile string // the last one "" for none
	log                           *zap.Logger

	seen    [3]os.FileInfo // the files as they were read last, nil if missing; for the goroutine of watch
	inUse   atomic.Pointer[tls.Certificate]
	clients atomic.Pointer[x509.CertPool] // nil without clientFile
	wrong   atomic.Pointer[error]         // why the files as they are now cannot be used; nil if they are in use
}

type keyPairStatus struct {
	NotAfter time.Time `json:"not_after"`
	Error    string    `json:"error,omitempty"`
}

func readKeyPair(certFile, keyFile, clientFile string, log *zap.Logger) (*keyPair, error) {
	p := &keyPair{certFile: certFile, keyFile: keyFile, clientFile: clientFile, log: log}
	p.seen = p.stat()
	if err := p.read(); err != nil {
		return nil, err
	}
	p.log.Info("certificate read", p.expiry())
	return p, nil
}

func (p *keyPair) register(reg prometheus.Registerer) {
	reg.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "weir_front_certificate_expiry_timestamp_seconds", Help: "When the certificate in use expires, in Unix time."},
		func() float64 { return float64(p.notAfter().Unix()) }))
}

func (p *keyPair) read() error {
	pair, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return fmt.Errorf("read -tls.cert %s and -tls.key %s: %w", p.certFile, p.keyFile, err)
	}
	if err := p.readClients(); err != nil {
		return err
	}
	p.inUse.Store(&pair)
	return nil
}

func (p *keyPair) readClients() error {
	if p.clientFile == "" {
		return nil
	}
	text, err := os.ReadFile(p.clientFile)
	if err != nil {
		return fmt.Errorf("read -tls.client-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("read -tls.client-ca %s: no certificate in PEM in it", p.clientFile)
	}
	p.clients.Store(pool)
	return nil
}

// watch reads the files again when they change, until ctx is done.
func (p *keyPair) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look()
		}
	}
}

func (p *keyPair) look() {
	now := p.stat()
	if slices.EqualFunc(now[:], p.seen[:], same) {
		return
	}
	p.seen = now
	if err := p.read(); err != nil {
		p.wrong.Store(&err)
		p.log.Warn("changed certificate cannot be used, the one before goes on", zap.Error(err), p.expiry())
		return
	}
	p.wrong.Store(nil)
	p.log.Info("certificate changed", p.expiry())
}

// stat follows links: Kubernetes swaps one above the files.
func (p *keyPair) stat() (files [3]os.FileInfo) {
	for i, name := range []string{p.certFile, p.keyFile, p.clientFile} {
		if info, err := os.Stat(name); err == nil { // else reading says why not
			files[i] = info
		}
	}
	return files
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// certificate is a tls.Config's GetCertificate.
func (p *keyPair) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.inUse.Load(), nil
}

func (p *keyPair) notAfter() time.Time { return p.inUse.Load().Leaf.NotAfter }

func (p *keyPair) expiry() zap.Field { return zap.Time("not_after", p.notAfter()) }

func (p *keyPair) ready() error {
	if end := p.notAfter(); time.Now().After(end) {
		return proxy.Degraded(fmt.Sprintf("the certificate of -tls.cert has expired at %s", end.UTC().Format(time.RFC3339)))
	}
	if wrong := p.wrong.Load(); wrong != nil {
		return proxy.Degraded(fmt.Sprintf("the one before goes on: %v", *wrong))
	}
	return nil
}

// status is nil for a nil pair.
func (p *keyPair) status() *keyPairStatus {
	if p == nil {
		return nil
	}
	s := &keyPairStatus{NotAfter: p.notAfter()}
	if wrong := p.wrong.Load(); wrong != nil {
		s.Error = (*wrong).Error()
	}
	return s
}
