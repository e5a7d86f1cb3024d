package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/proxy/wire"
)

// strangers is how clients of tests come in under TLS: what the certificate says
// is looked at by those who care.
func strangers() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// certify writes a certificate of that name to cert.pem, and its key to key.pem:
// certify NAME.
func certify(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certify name")
	}
	ts.Check(writePair(ts.MkAbs("."), args[0]))
}

func writePair(dir, name string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, certErr := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	key, keyErr := x509.MarshalPKCS8PrivateKey(private)
	write := func(file, kind string, der []byte) error {
		return os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	return errors.Join(certErr, keyErr, write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", key))
}

// shows says whether a new connection is shown the certificate of that name.
func shows(addr, name string) (bool, string) {
	c, err := tls.Dial("tcp", addr, strangers())
	if err != nil {
		return false, err.Error()
	}
	defer c.Close()
	got := c.ConnectionState().PeerCertificates[0].Subject.CommonName
	return got == name, got
}

// h2 asks by HTTP/2 and checks the status: h2 URL STATUS.
func h2(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: h2 url status")
	}
	tr := &http.Transport{TLSClientConfig: strangers(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get(args[0])
	ts.Check(err)
	defer res.Body.Close()
	if res.Proto != "HTTP/2.0" || fmt.Sprint(res.StatusCode) != args[1] {
		ts.Fatalf("GET %s: %s %s, want HTTP/2.0 %s", args[0], res.Proto, res.Status, args[1])
	}
}

// TestPlayersUnderTLS: a real player, and what the edge says is rtsps all along.
func TestPlayersUnderTLS(t *testing.T) {
	dir := t.TempDir()
	if err := writePair(dir, "edge"); err != nil {
		t.Fatal(err)
	}
	n, _ := startEdge(t, "-rtsps", "127.0.0.1:0", "-tls.cert", filepath.Join(dir, "cert.pem"), "-tls.key", filepath.Join(dir, "key.pem"))
	addr := n.front.RTSPSAddr().String()
	t.Run("ffmpeg", func(t *testing.T) {
		t.Parallel()
		ffmpegPlays(t, "rtsps://"+addr+demoPath, "tcp")
	})
	t.Run("signalling", func(t *testing.T) {
		t.Parallel()
		signalsUnderTLS(t, addr)
	})
}

// signalsUnderTLS plays by hand.
func signalsUnderTLS(t *testing.T, addr string) {
	c, err := tls.Dial("tcp", addr, strangers())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read says it
	r, url, cseq := wire.NewReader(bufio.NewReader(c)), "rtsps://"+addr+demoPath, 0
	answer := func(code int, method, url string, header ...string) *wire.Response {
		t.Helper()
		cseq++
		fmt.Fprintf(c, "%s %s RTSP/1.0\r\nCSeq: %d\r\n%s\r\n", method, url, cseq, strings.Join(append(header, ""), "\r\n"))
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		res, ok := m.(*wire.Response)
		if !ok || res.Code != code {
			t.Fatalf("%s %s: %+v, want %d", method, url, m, code)
		}
		return res
	}
	ask := func(method, url string, header ...string) *wire.Response {
		t.Helper()
		return answer(200, method, url, header...)
	}
	if got := ask("DESCRIBE", url).Header.Get("Content-Base"); got != url+"/" {
		t.Errorf("Content-Base %s, want %s/", got, url)
	}
	answer(461, "SETUP", url+"/trackID=0", "Transport: RTP/AVP;unicast;client_port=50000-50001") // it would leave in the clear
	setup := ask("SETUP", url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1").Header
	if got := setup.Get("Transport"); !strings.HasPrefix(got, "RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=") {
		t.Errorf("Transport %s", got)
	}
	session, _, _ := strings.Cut(setup.Get("Session"), ";")
	if got := ask("PLAY", url+"/", "Session: "+session).Header.Get("RTP-Info"); !strings.HasPrefix(got, "url="+url+"/trackID=0") {
		t.Errorf("RTP-Info %s", got)
	}
	m, err := r.Next()
	if _, ok := m.(*wire.Frame); !ok {
		t.Errorf("behind the answer to PLAY: %+v, %v, want media", m, err)
	}
}
