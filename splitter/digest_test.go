package splitter_test

import (
	"crypto/md5"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"weir/admission"
	"weir/proxy"
	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

// ann's password is "sesame".
var annsHA1 = fmt.Sprintf("%x", md5.Sum([]byte("ann:weir:sesame")))

// digest answers a challenge as players do over RTSP, without qop (RFC 2069 §2.1.2).
func digest(challenge, method, uri string) string {
	nonce := regexp.MustCompile(`nonce="([^"]*)"`).FindStringSubmatch(challenge)[1]
	ha2 := fmt.Sprintf("%x", md5.Sum([]byte(method+":"+uri)))
	response := fmt.Sprintf("%x", md5.Sum([]byte(annsHA1+":"+nonce+":"+ha2)))
	return fmt.Sprintf(`Authorization: Digest username="ann", realm="weir", nonce="%s", uri="%s", response="%s"`, nonce, uri, response)
}

// Players differ in what they take for the URI of a digest, and are let in all the
// same, on the connection on which they were asked.
func TestDigestHabits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("ann:weir:"+annsHA1+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := flag.NewFlagSet("", flag.PanicOnError)
	o := admission.Flags(fs)
	fs.Parse([]string{"-admission.users", file, "-admission.realm", "weir"}) //nolint:errcheck // it panics
	gate, err := admission.New(admission.Config{Options: *o, Peers: proxy.Alone,
		Metrics: prometheus.NewRegistry(), Log: proxytest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	background(t, gate.Run)
	origin := newOrigin(t, origintest.Options{})
	e := newEdgeWith(t, edgeOptions(), balancer(t, origin.URL()), gate)
	url := e.url + clock
	// f plays with the URIs that a player writes for DESCRIBE, SETUP and PLAY.
	f := func(what, describe, setup, play string) {
		t.Helper()
		c := talk(t, e)
		challenge := c.unauthorized(t, "DESCRIBE", url)
		if res := c.ask("DESCRIBE", url, digest(challenge, "DESCRIBE", describe)); res.Code != 200 {
			t.Fatalf("%s: DESCRIBE answered %d", what, res.Code)
		}
		res := c.ask("SETUP", url+"/trackID=0", overTCP, digest(challenge, "SETUP", setup))
		if res.Code != 200 {
			t.Fatalf("%s: SETUP answered %d", what, res.Code)
		}
		if res := c.ask("PLAY", url+"/", sessionID(res), digest(challenge, "PLAY", play)); res.Code != 200 {
			t.Errorf("%s: PLAY answered %d", what, res.Code)
		}
	}
	f("ffmpeg", url, url+"/trackID=0", url+"/")
	f("VLC", url, url+"/", url+"/")
	f("by paths", clock, clock+"/trackID=0", clock+"/")
	f("another name of the host", "rtsp://cameras.example"+clock, "rtsp://cameras.example"+clock+"/trackID=0", "rtsp://cameras.example"+clock)

	// SETUP may come on a connection of its own.
	c := talk(t, e)
	challenge := c.unauthorized(t, "SETUP", url+"/trackID=0")
	if res := c.ask("SETUP", url+"/trackID=0", overTCP, digest(challenge, "SETUP", url+"/")); res.Code != 200 {
		t.Errorf("SETUP first: answered %d", res.Code)
	}
	// A nonce that is none of ours, and then the one of the new challenge.
	c = talk(t, e)
	res := c.ask("DESCRIBE", url, digest(`nonce="0123456789abcdef"`, "DESCRIBE", url))
	challenge = res.Header.Get("WWW-Authenticate")
	if res.Code != 401 || !strings.HasPrefix(challenge, "Digest ") {
		t.Fatalf("a foreign nonce: %q", res.Raw)
	}
	if res := c.ask("DESCRIBE", url, digest(challenge, "DESCRIBE", url)); res.Code != 200 {
		t.Errorf("the next one: answered %d", res.Code)
	}
	// What was let in to one path is asked again for another.
	if res := c.ask("DESCRIBE", e.url+"/live/radio"); res.Code != 401 || res.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("another path: %q", res.Raw)
	}
	if res := c.ask("DESCRIBE", e.url+"/live/radio", digest(challenge, "DESCRIBE", e.url+"/live/radio")); res.Code != 200 {
		t.Errorf("another path, with credentials: %d", res.Code)
	}
	if res := c.ask("DESCRIBE", e.url+"/live/video", digest(challenge, "DESCRIBE", url)); res.Code != 401 {
		t.Errorf("a digest for another path: %d", res.Code)
	}
}

// unauthorized returns the challenge for Digest that a request is answered with.
func (c *talker) unauthorized(t *testing.T, method, url string) string {
	t.Helper()
	res := c.ask(method, url, overTCP)
	if res.Code != 401 {
		t.Fatalf("%s without credentials answered %d", method, res.Code)
	}
	for _, f := range res.Header {
		if f.Name == "WWW-Authenticate" && strings.HasPrefix(f.Value, "Digest ") {
			return f.Value
		}
	}
	t.Fatalf("no challenge for Digest: %q", res.Raw)
	return ""
}
