package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"weir/admission"
	"weir/proxy/origintest"
	"weir/proxy/wire"
)

// A guarded is an edge with a gate in front of origins for RTSP and HTTP.
type guarded struct {
	n          *node
	rtsp, http string // host:port
	said       *logged
	upstream   seenRequests // what the HTTP origin was asked

	keys []byte          // for signed URLs
	rsa  *rsa.PrivateKey // for JSON Web Tokens
	pem  []byte          // its public part
}

// A logged is all that a node says.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// seenRequests are requests as they reached an origin, in full.
type seenRequests struct {
	n   atomic.Int64
	mu  sync.Mutex
	all strings.Builder
}

func (s *seenRequests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.n.Add(1)
	s.mu.Lock()
	fmt.Fprintf(&s.all, "%s %s %v\n", r.Method, r.RequestURI, r.Header)
	s.mu.Unlock()
	w.Header().Set("Cache-Control", "max-age=60")
	fmt.Fprintf(w, "this is %s", r.URL.Path)
}

func (s *seenRequests) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// guard runs such an edge until the test ends. Flags may name files in the folder
// that it makes: keys, jwt.pem, users.
func guard(t *testing.T, users string, flags ...string) *guarded {
	t.Helper()
	g := &guarded{said: &logged{}, keys: []byte("k1 " + strings.Repeat("0123456789abcdef", 3) + "\nk2 " + strings.Repeat("fedcba9876543210", 3) + "\n")}
	dir := t.TempDir()
	var err error
	g.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(&g.rsa.PublicKey)
	must(t, err)
	g.pem = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for name, text := range map[string][]byte{"keys": g.keys, "jwt.pem": g.pem, "users": []byte(users)} {
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	origin, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0", UDP: true, Live: []string{"/a/cam", "/ab/cam", "/b/cam"}})
	must(t, err)
	files := &http.Server{Handler: &g.upstream}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := newConfig("weir", os.Stderr)
	args := []string{"-rtsp", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-splitter.udp", "127.0.0.1:0", "-drain.notice", "0s", "-log.level", "debug",
		"-origin", origin.URL(), "-origin", "http://" + l.Addr().String()}
	for _, f := range flags {
		args = append(args, strings.ReplaceAll(f, "DIR", dir))
	}
	must(t, c.parse(args))
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(g.said), zap.DebugLevel)
	g.n, err = newNode(c, zap.New(core), zap.NewAtomicLevelAt(zap.DebugLevel))
	must(t, err)
	g.rtsp, g.http = g.n.front.RTSPAddr().String(), g.n.front.HTTPAddr().String()
	background(t, origin.Run)
	background(t, func(context.Context) error { files.Serve(l); return nil }) //nolint:errcheck // closed below
	background(t, func(ctx context.Context) error { return g.n.run(ctx, nil) })
	t.Cleanup(func() { files.Close() })
	return g
}

// sign mints a token of the first key.
func (g *guarded) sign(t *testing.T, c admission.Claim) string {
	t.Helper()
	if c.Until.IsZero() {
		c.Until = time.Now().Add(time.Hour)
	}
	token, err := admission.Sign(g.keys, "", c)
	must(t, err)
	return token
}

// jwt mints a JSON Web Token.
func (g *guarded) jwt(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	must(t, err)
	return token
}

// askHTTP sends a request as it stands, on a connection of its own, and returns
// the answer's code and header block.
func (g *guarded) askHTTP(t *testing.T, request string) (code int, header string) {
	t.Helper()
	return ask(t, g.http, strings.ReplaceAll(request, "\n", "\r\n")+"Connection: close\r\n\r\n")
}

// askRTSP sends one request likewise.
func (g *guarded) askRTSP(t *testing.T, method, url string, fields ...string) (code int, header string) {
	t.Helper()
	return ask(t, g.rtsp, method+" "+url+" RTSP/1.0\r\nCSeq: 1\r\n"+strings.Join(append(fields, ""), "\r\n")+"\r\n")
}

func ask(t *testing.T, addr, text string) (code int, header string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	must(t, err)
	defer c.Close()
	return exchangeText(t, c, text)
}

// exchangeText sends text and reads the head of what is answered.
func exchangeText(t *testing.T, c net.Conn, text string) (code int, header string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read says it
	_, err := c.Write([]byte(text))
	must(t, err)
	r := bufio.NewReaderSize(c, 64<<10)
	for !strings.HasSuffix(header, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		header += line
		if err != nil {
			t.Fatalf("%q was answered with %q: %v", text, header, err)
		}
	}
	if _, err := fmt.Sscanf(header[strings.Index(header, " ")+1:], "%d", &code); err != nil {
		t.Fatalf("%q was answered with %q", text, header)
	}
	return code, header
}

// A talk is a connection of RTSP on which one request follows another.
type talk struct {
	net.Conn
	r    *wire.Reader
	cseq int
}

func (g *guarded) talk(t *testing.T) *talk {
	t.Helper()
	c, err := net.Dial("tcp", g.rtsp)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read says it
	return &talk{Conn: c, r: wire.NewReader(bufio.NewReader(c))}
}

// ask returns nil if the connection ends instead of an answer.
func (c *talk) ask(t *testing.T, method, url string, fields ...string) *wire.Response {
	t.Helper()
	c.cseq++
	fmt.Fprintf(c, "%s %s RTSP/1.0\r\nCSeq: %d\r\n%s\r\n", method, url, c.cseq, strings.Join(append(fields, ""), "\r\n")) //nolint:errcheck // the read says it
	for {
		m, err := c.r.Next()
		if err != nil {
			return nil
		}
		if res, ok := m.(*wire.Response); ok {
			return res
		}
	}
}
