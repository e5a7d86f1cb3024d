package passthrough

import (
	"encoding/hex"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// parse reads a command line.
func parse(t testing.TB, args ...string) OriginOptions {
	t.Helper()
	fs := flag.NewFlagSet("weir", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o := OriginFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parse %q: %v", args, err)
	}
	return *o
}

// siteOf reads one -origin.
func siteOf(t testing.TB, raw string) *site {
	t.Helper()
	o := OriginOptions{Origins: []string{raw}}
	sites, err := o.origins()
	if err != nil {
		t.Fatalf("-origin %s: %v", raw, err)
	}
	return sites[0]
}

func TestFlags(t *testing.T) {
	if o := parse(t); len(o.Origins) != 0 || len(o.Sources) != 0 || o.Timeout != 3*time.Second || o.Balance != "p2c" ||
		o.Check != 5*time.Second || o.Rise != 2 || o.Fall != 3 || o.SlowStart != 30*time.Second || o.Resolve != 30*time.Second || o.Host != "origin" {
		t.Errorf("defaults = %+v", o)
	} else if err := o.Validate(); err != nil {
		t.Errorf("defaults do not validate: %v", err)
	}
	o := parse(t, "-origin", "rtsp://a", "-origin=http://b/vod", "-splitter.source", "/x=rtsp://c", "-origin.timeout", "1s",
		"-origin.balance", "hash", "-origin.check", "0", "-origin.resolve", "0", "-origin.slow-start", "0", "-origin.host", "preserve")
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(o.Origins, " ") + " " + strings.Join(o.Sources, " "); got != "rtsp://a http://b/vod /x=rtsp://c" {
		t.Errorf("flags = %q", got)
	}
}

func TestOriginURL(t *testing.T) {
	f := func(raw, name, addr string) {
		t.Helper()
		s := siteOf(t, raw)
		if s.name != name || s.hostport() != addr {
			t.Errorf("%q = name %q, address %q, want %q, %q", raw, s.name, s.hostport(), name, addr)
		}
	}
	f("rtsp://cam", "cam:554", "cam:554")
	f("rtsps://cam", "cam:322", "cam:322")
	f("http://cam", "cam:80", "cam:80")
	f("https://cam", "cam:443", "cam:443")
	f("RTSP://cam", "cam:554", "cam:554")
	f("rtsp://cam:8554/", "cam:8554", "cam:8554")
	f("rtsp://cam:8554/live/", "cam:8554/live", "cam:8554")
	f("rtsp://admin:s%2Fcret@10.0.0.9/live", "10.0.0.9:554/live", "10.0.0.9:554")
	f("rtsp://[::1]", "[::1]:554", "[::1]:554")
	f("rtsp://[2001:db8::1]:8554/live", "[2001:db8::1]:8554/live", "[2001:db8::1]:8554")
	f("rtsp://[fe80::1%25eth0]:8554", "[fe80::1%eth0]:8554", "[fe80::1%eth0]:8554")
}

func TestOriginOptionsOfURL(t *testing.T) {
	fingerprint := strings.Repeat("0a", 32)
	s := siteOf(t, "https://cdn/base#weight=3,path=/vod/,path=/a%2Cb,max=500,header=X-Key: s,header=x-key: t%2Cu,fingerprint="+fingerprint+",probe=http:/up?a=b=200-299")
	if s.weight != 3 || s.max != 500 || !slices.Equal(s.paths, []string{"/vod", "/a,b"}) || hex.EncodeToString(s.trust.fingerprint) != fingerprint {
		t.Errorf("site = %+v", s)
	}
	if got := s.header.Values("X-Key"); !slices.Equal(got, []string{"s", "t,u"}) {
		t.Errorf("header = %q", got)
	}
	if p := s.probe; p.Kind != "http" || p.Path != "/up" || p.Query != "a=b" || p.Low != 200 || p.High != 299 {
		t.Errorf("probe = %+v", p)
	}
	if s := siteOf(t, "rtsp://cam"); s.weight != 1 || s.max != 0 || !slices.Equal(s.paths, []string{"/"}) || s.probe.Kind != "rtsp" {
		t.Errorf("defaults of rtsp = %+v", s)
	}
	if s := siteOf(t, "http://cdn#"); s.probe.Kind != "tcp" {
		t.Errorf("defaults of http = %+v", s)
	}
	colons := strings.ToUpper(strings.TrimSuffix(strings.Repeat("0a:", 32), ":"))
	if s := siteOf(t, "rtsps://cam#fingerprint="+colons); hex.EncodeToString(s.trust.fingerprint) != fingerprint {
		t.Errorf("a fingerprint with colons is read as %x", s.trust.fingerprint)
	}
}

func TestAlways(t *testing.T) {
	b := balancer(t, "-splitter.source", "/b=rtsp://a/x#always,max=1", "-splitter.source", "/c=rtsp://a/y", "-splitter.source", "/a=rtsp://a/z#always")
	if got := b.Always(); !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("Always = %q", got)
	}
}

func TestValidate(t *testing.T) {
	f := func(flag, value, want string) {
		t.Helper()
		err := parse(t, flag, value).Validate()
		if err == nil {
			t.Errorf("%s %q is accepted, want %q", flag, value, want)
			return
		}
		if s := err.Error(); !strings.Contains(s, want) || !strings.HasPrefix(s, flag+" ") || strings.Contains(s, "s3cr") || strings.Contains(s, "\n") {
			t.Errorf("%s %q: %q, want %q in it, the flag before it, and no secret", flag, value, s, want)
		}
	}
	f("-origin", "", "must begin with")
	f("-origin", "cam:554", "must begin with")
	f("-origin", "udp://cam", "must begin with one of http:// https:// rtsp:// rtsps://")
	f("-origin", "rtsp:cam", "must begin with")
	f("-origin", "rtsp://", "no host")
	f("-origin", "rtsp://:554", "no host")
	f("-origin", "rtsp://cam:0", "port 0")
	f("-origin", "rtsp://cam:65536", "port 65536")
	f("-origin", "rtsp://cam:http", "not a URL")
	f("-origin", "rtsp://u:s3cr/et@cam", "not a URL")
	f("-origin", "rtsp://u:1/s3cr@cam", "a base has no ? and no @")
	f("-origin", "rtsp://u:s3cr%zz@cam", "not a URL")
	f("-origin", "http://cam/base?token=s3cr", "a base has no ?")
	f("-origin", "http://cam/base?", "a base has no ?")
	f("-origin", "http://cam/base?token=a@s3cr", "a base has no ?")
	f("-origin", "rtsp://u:1#s3cr@cam", "written %23")
	f("-origin", "rtsp://u:s3cr@[::1", "not a URL")
	f("-origin", "rtsp://u:s3cr@cam#wieght=s3cr", "wieght: there is no such option")
	f("-origin", "http://cam#x-key:s3cr", "an option: there is no such option")
	f("-origin", "http://cam#=s3cr", "an option: there is no such option")
	f("-origin", "http://cam#weight", "weight: must be a number from 1 to 1000")
	f("-origin", "http://cam#weight=0", "weight: must be")
	f("-origin", "http://cam#weight=1001", "weight: must be")
	f("-origin", "http://cam#weight=1,weight=1", "weight: given twice")
	f("-origin", "http://cam#weight=%zz", "weight: a % in it is written %25")
	f("-origin", "http://cam#max=0", "max: must be a number")
	f("-origin", "http://cam#path=vod", "path: must be a path")
	f("-origin", "http://cam#path=/a/../b", "path: must be a path")
	f("-origin", "http://cam#path=/vod,path=/vod/", "path: the same path twice")
	f("-origin", "http://cam#header=X-Key s3cr", "header: must be Name: value")
	f("-origin", "http://cam#header=X Key: s3cr", "header: must be Name: value")
	f("-origin", "http://cam#header=X-Key: s3cr%0d%0a", "header: must be Name: value")
	f("-origin", "http://cam#header=transfer-encoding: chunked", "header: this one is the connection's own")
	f("-origin", "rtsp://cam#header=X-Key: s3cr", "header: only for http:// and https://")
	f("-origin", "https://cam#fingerprint=abc", "fingerprint: must be 64")
	f("-origin", "http://cam#fingerprint="+strings.Repeat("0a", 32), "only for rtsps:// and https://")
	f("-origin", "https://cam#ca=/no/such/file", "ca: stat /no/such/file: no such file")
	f("-origin", "https://cam#ca=/dev/zero", "ca: not a file")
	f("-origin", "https://cam#always", "always: only a -splitter.source")
	f("-origin", "rtsp://cam#probe=", "probe: must be one of")
	f("-origin", "rtsp://cam#probe=ping", "probe: must be one of")
	f("-origin", "rtsp://cam#probe=tcp:/x", "probe: tcp takes no path")
	f("-origin", "rtsp://cam#probe=describe", "probe: describe needs a path")
	f("-origin", "rtsp://cam#probe=describe:x", "probe: describe needs a path")
	f("-origin", "rtsp://cam#probe=http:/x", "probe: http is not for rtsp://")
	f("-origin", "http://cam#probe=rtsp", "probe: rtsp is not for http://")
	f("-origin", "http://cam#probe=hls", "probe: hls needs a path")
	f("-origin", "http://cam#probe=http:/x=99", "probe: a status is")
	f("-origin", "http://cam#probe=http:/x=300-200", "probe: a status is")
	f("-splitter.source", "/cam", "must be PATH=URL")
	f("-splitter.source", "=rtsp://cam", "must be PATH=URL")
	f("-splitter.source", "/a/../b=rtsp://cam", "path not acceptable")
	f("-splitter.source", "/cam=http://cam/x", "must be rtsp:// or rtsps://")
	f("-splitter.source", "/cam=rtsp://u:s3cr@cam/user=a_password=s3cr#x", "x: there is no such option")
	f("-splitter.source", "/cam=rtsp://cam/user=a@s3cr#x", "x: there is no such option")
	f("-splitter.source", "/cam=rtsp://u:s3cr@cam:bad/s3cr", "not a URL")
	f("-splitter.source", "/cam=rtsp://cam#weight=2", "weight: a source has none")
	f("-splitter.source", "/cam=rtsp://cam#path=/x", "path: a source has none")
	f("-splitter.source", "/cam=rtsp://cam#always=yes", "always: takes no value")
	f("-origin.timeout", "0s", "must be more than 0")
	f("-origin.timeout", "-1s", "must be more than 0")
	f("-origin.balance", "random", "must be one of p2c, leastconn, roundrobin, hash")
	f("-origin.check", "1ms", "must be 0 or at least 10ms")
	f("-origin.check", "-1s", "must be 0 or")
	f("-origin.rise", "0", "must be at least 1")
	f("-origin.fall", "0", "must be at least 1")
	f("-origin.slow-start", "-1s", "must be 0 or more")
	f("-origin.resolve", "1ms", "must be 0 or at least")
	f("-origin.host", "viewer", "must be origin or preserve")
}

func TestBadCA(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := parse(t, "-origin", "rtsps://cam#ca="+file).Validate(); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("error = %v", err)
	}
	writeCA(t, file, serverCert(t))
	if err := parse(t, "-origin", "rtsps://cam#ca="+file).Validate(); err != nil {
		t.Error(err)
	}
	err := parse(t, "-origin", "rtsps://cam#ca="+file+",fingerprint="+strings.Repeat("0a", 32)).Validate()
	if err == nil || !strings.Contains(err.Error(), "one of them at most") {
		t.Errorf("ca and fingerprint: %v", err)
	}
}

func TestValidateReportsAll(t *testing.T) {
	err := parse(t,
		"-origin", "rtsp://a:554", "-origin", "rtsp://u:p@A/", "-origin", "http://a/base", "-origin", "http://a/base/",
		"-origin", "ftp://b", "-origin", "http://c#weight=x,max=x", "-splitter.source", "/x=rtsp://c", "-splitter.source", "x/=rtsp://d", "-origin.timeout", "0s", "-origin.rise", "0").Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{"-origin rtsp://A: given twice", "-origin http://a: given twice", "-origin ftp://b: must begin",
		"-origin http://c: weight: must be", "-origin http://c: max: must be",
		"-splitter.source x/=rtsp://d: the path is given twice", "-origin.rise 0: must be", "-origin.timeout 0s: must be"}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d mistakes reported, want %d:\n%v", len(lines), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("mistake %d = %q, want %q", i, lines[i], want[i])
		}
	}
}

func TestFlagValueHidesCredentials(t *testing.T) {
	fs := flag.NewFlagSet("weir", flag.ContinueOnError)
	OriginFlags(fs)
	if err := fs.Parse([]string{"-origin", "rtsp://u:s3cr@a/x#header=X-Key: s3cr", "-splitter.source", "/cam=rtsp://u:s3cr@b/s3cr?s3cr"}); err != nil {
		t.Fatal(err)
	}
	f := func(name, want string) {
		t.Helper()
		if got := fs.Lookup(name).Value.String(); got != want {
			t.Errorf("-%s prints as %q, want %q", name, got, want)
		}
	}
	f("origin", "rtsp://a")
	f("splitter.source", "/cam=rtsp://b")
}

func TestRedactText(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		if got := redactText(raw); got != want {
			t.Errorf("redactText(%q) = %q, want %q", raw, got, want)
		}
	}
	f("rtsp://u:p@cam:554/x?y#z", "rtsp://cam:554")
	f("/cam=rtsp://u:p@cam/x", "/cam=rtsp://cam")
	f("cam:554", "cam:554")
	f("u:p@cam", "cam")
	f("rtsp://u:p/q@cam", "rtsp://***")
	f("rtsp://u:p?q@cam", "rtsp://***")
	f("rtsp://u:p#q@cam", "rtsp://***")
	f("rtsp://u:p@cam/user=a@b", "rtsp://***")
	f("http://cam#header=From: a@b", "http://***")
	f("", "")
}

func TestNewBalancerWantsValidOptions(t *testing.T) {
	defer func() {
		if p, _ := recover().(string); !strings.HasPrefix(p, "BUG: ") {
			t.Errorf("panic = %q, want BUG: …", p)
		}
	}()
	NewBalancer(OriginOptions{Origins: []string{"ftp://a"}, Timeout: time.Second}, prometheus.NewRegistry(), zap.NewNop())
}

// Several URLs may stand in one value, between blanks.
func TestSeveralInOne(t *testing.T) {
	f := func(value string, want ...string) {
		t.Helper()
		var l list
		if err := l.Set(value); err != nil || !slices.Equal(l, want) {
			t.Errorf("Set(%q) gives %q, %v, want %q", value, l, err, want)
		}
	}
	f("rtsp://a", "rtsp://a")
	f("rtsp://a rtsp://b", "rtsp://a", "rtsp://b")
	f(" rtsp://a   rtsp://b ", "rtsp://a", "rtsp://b")
	f("/x=rtsp://a /y=rtsp://b", "/x=rtsp://a", "/y=rtsp://b")
	f("http://a#header=X-Key: k rtsp://b", "http://a#header=X-Key: k", "rtsp://b")
	f("", "")
}

// FuzzOptions: whatever is configured, nothing panics, no message has the
// password in it, and what is accepted can be used.
func FuzzOptions(f *testing.F) {
	f.Add("s3cret", "weight=2,path=/vod/,max=500")
	f.Add("a#b", "header=X-Key: v,probe=http:/x=200-399")
	f.Add("a/b", "fingerprint=00,ca=/dev/null,always")
	f.Add("a?b", "probe=hls:/x%3fy,path=%2c")
	f.Add("a@b", "%zz,=,weight")
	f.Add("a%2Fb://c", "probe=describe")
	f.Fuzz(func(t *testing.T, password, options string) {
		secret := "T0p" + password + "5ecret"
		o := OriginOptions{
			Origins: []string{"rtsps://user:" + secret + "@cam.example/x#" + options, "http://user:" + secret + "@cam.example/x#" + options},
			Sources: []string{"/cam=rtsp://user:" + secret + "@cam.example/x#" + options},
			Balance: "p2c", Rise: 1, Fall: 1, Timeout: time.Second, Host: "origin",
		}
		err := o.Validate()
		if err != nil && !strings.Contains(options, "T0p") && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "T0p")) {
			t.Errorf("password %q, options %q: %v", secret, options, err)
		}
		if s := (*list)(&o.Origins).String(); strings.Contains(s, secret) || strings.Contains(s, "T0p") {
			t.Errorf("password %q prints as %q", secret, s)
		}
		if err == nil {
			b := NewBalancer(o, prometheus.NewRegistry(), zap.NewNop())
			for _, s := range slices.Collect(maps.Keys(b.origins)) {
				s.redact(s.target("/x").String())
			}
		}
	})
}
