package passthrough

import (
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// parse reads a command line.
func parse(t *testing.T, args ...string) OriginOptions {
	t.Helper()
	fs := flag.NewFlagSet("weir", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o := OriginFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parse %q: %v", args, err)
	}
	return *o
}

func TestFlags(t *testing.T) {
	if o := parse(t); len(o.Origins) != 0 || len(o.Sources) != 0 || o.Timeout != 3*time.Second {
		t.Errorf("defaults = %+v", o)
	} else if err := o.Validate(); err != nil {
		t.Errorf("defaults do not validate: %v", err)
	}
	o := parse(t, "-origin", "rtsp://a", "-origin=http://b/vod", "-splitter.source", "/x=rtsp://c", "-origin.timeout", "1s")
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
		o, err := newOrigin(raw)
		if err != nil {
			t.Errorf("newOrigin(%q): %v", raw, err)
			return
		}
		if o.name != name || o.addr != addr {
			t.Errorf("newOrigin(%q) = name %q, address %q, want %q, %q", raw, o.name, o.addr, name, addr)
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

func TestValidate(t *testing.T) {
	f := func(flag, value, want string) {
		t.Helper()
		err := parse(t, flag, value).Validate()
		if err == nil {
			t.Errorf("%s %q is accepted, want %q", flag, value, want)
			return
		}
		if s := err.Error(); !strings.Contains(s, want) || !strings.HasPrefix(s, flag+" ") || strings.Contains(s, "s3cr") {
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
	f("-origin", "http://cam/base?token=a@s3cr", "a base has no ?")
	f("-origin", "rtsp://u:s3cr@cam#weight=2", "options behind '#' are not supported yet: weight")
	f("-origin", "http://cam#weight=2,header=X-Key: s3cr", "yet: weight, header")
	f("-origin", "rtsp://u:1#s3cr@cam", "written %23")
	f("-origin", "rtsp://u:s3cr@[::1", "not a URL")
	f("-splitter.source", "/cam", "must be PATH=URL")
	f("-splitter.source", "=rtsp://cam", "must be PATH=URL")
	f("-splitter.source", "/a/../b=rtsp://cam", "path not acceptable")
	f("-splitter.source", "/cam=http://cam/x", "must be rtsp:// or rtsps://")
	f("-splitter.source", "/cam=rtsp://u:s3cr@cam/user=a_password=s3cr#x", "yet: x")
	f("-splitter.source", "/cam=rtsp://u:s3cr@cam:bad/s3cr", "not a URL")
	f("-origin.timeout", "0s", "must be more than 0")
	f("-origin.timeout", "-1s", "must be more than 0")
}

func TestValidateReportsAll(t *testing.T) {
	err := parse(t,
		"-origin", "rtsp://a:554", "-origin", "rtsp://u:p@a/", "-origin", "http://a/base", "-origin", "http://a/base/",
		"-origin", "ftp://b", "-splitter.source", "/x=rtsp://c", "-splitter.source", "x/=rtsp://d", "-origin.timeout", "0s").Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{"-origin rtsp://a: given twice", "-origin http://a: given twice", "-origin ftp://b: must begin",
		"-splitter.source x/=rtsp://d: the path is given twice", "-origin.timeout 0s: must be"}
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
	if err := fs.Parse([]string{"-origin", "rtsp://u:s3cr@a/x", "-splitter.source", "/cam=rtsp://u:s3cr@b/s3cr?s3cr"}); err != nil {
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

func TestNewWantsValidOptions(t *testing.T) {
	defer func() {
		if p, _ := recover().(string); !strings.HasPrefix(p, "BUG: ") {
			t.Errorf("panic = %q, want BUG: …", p)
		}
	}()
	NewBalancer(OriginOptions{Origins: []string{"ftp://a"}, Timeout: time.Second}, zap.NewNop())
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
