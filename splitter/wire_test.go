package splitter_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/proxy/rtp"
	"weir/proxy/wire"
)

// request is an RTSP request in text.
func request(method, url string, header ...string) string {
	return method + " " + url + " RTSP/1.0\r\n" + strings.Join(append(header, "", ""), "\r\n")
}

// answers reads n answers, fewer if the connection ends: "200 OK" and the fields.
func answers(r io.Reader, n int) (got []string) {
	wr := wire.NewReader(bufio.NewReader(r))
	for len(got) < n {
		m, err := wr.Next()
		if err != nil {
			return append(got, "end: "+err.Error())
		}
		if res, ok := m.(*wire.Response); ok {
			s := fmt.Sprintf("%d %s\n", res.Code, res.Phrase)
			for _, f := range res.Header {
				s += f.Name + ": " + f.Value + "\n"
			}
			got = append(got, s+string(res.Body))
		}
	}
	return got
}

func parse(p []byte) packet {
	pl := rtp.Payload(p)
	return packet{seq: rtp.Seq(p), ts: rtp.Timestamp(p), ssrc: rtp.SSRC(p), marker: rtp.Marker(p),
		at: now(), head: append([]byte(nil), pl[:min(64, len(pl))]...)}
}

// channels reads n frames and counts them by RTP channel; others are channels
// above 7.
func channels(wr *wire.Reader, n int) (frames map[byte]int, others []byte) {
	frames = map[byte]int{}
	for range n {
		m, err := wr.Next()
		if err != nil {
			break
		}
		if f, ok := m.(*wire.Frame); ok {
			frames[f.Channel]++
			if f.Channel != 6 && f.Channel != 7 {
				others = append(others, f.Channel)
			}
		}
	}
	return frames, others
}

// smallBuffers makes a socket that takes little; loopback takes a lot otherwise.
func smallBuffers(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)   //nolint:errcheck
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1448) //nolint:errcheck
	})
}

// selfSigned makes a server's certificate, and what a client needs to trust it.
func selfSigned(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}
