package front

import (
	"flag"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/proxytest"
)

func TestFlags(t *testing.T) {
	f := func(args string, want Options) {
		t.Helper()
		fs := flag.NewFlagSet("weir", flag.ContinueOnError)
		o := Flags(fs)
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*o, want) || o.Validate() != nil {
			t.Errorf("%q: %+v, %v, want %+v", args, *o, o.Validate(), want)
		}
	}
	def := Options{HTTP: ":8080", RTSP: ":8554", ClientAuth: "require",
		FirstByte: 10 * time.Second, Idle: 2 * time.Minute, DrainNotice: 5 * time.Second, DrainTimeout: 5 * time.Minute}
	f("", def)
	def.HTTP, def.DrainNotice = "", 0
	f("-http= -drain.notice 0s", def)
	f("-http= -rtsp :1 -front.first-byte 2s -front.idle 3s -drain.notice 4s -drain.timeout 0s",
		Options{ClientAuth: "require", RTSP: ":1", FirstByte: 2 * time.Second, Idle: 3 * time.Second, DrainNotice: 4 * time.Second})
	f("-http= -rtsp= -https :1 -rtsps :2 -tls.cert a.pem -tls.key b.pem -drain.notice 0s",
		Options{ClientAuth: "require", HTTPS: ":1", RTSPS: ":2", Cert: "a.pem", Key: "b.pem",
			FirstByte: 10 * time.Second, Idle: 2 * time.Minute, DrainTimeout: 5 * time.Minute})
}

func TestUsage(t *testing.T) {
	fs := flag.NewFlagSet("weir", flag.ContinueOnError)
	Flags(fs)
	fs.VisitAll(func(f *flag.Flag) {
		if strings.Contains(f.Name, ".") && !strings.Contains(f.Usage, ";") {
			t.Errorf("-%s does not say what too little does: %q", f.Name, f.Usage)
		}
	})
}

// All mistakes come at once and in the same order every time.
func TestValidate(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		for range 20 {
			got := "<nil>"
			if err := o.Validate(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Fatalf("%+v: %q, want %q", o, got, want)
			}
		}
	}
	f(Options{ClientAuth: "require", RTSP: ":1", FirstByte: 1, Idle: 1}, "<nil>")
	f(Options{HTTP: ":1", FirstByte: 1, Idle: 1}, "<nil>")
	f(Options{ClientAuth: "require", HTTPS: ":1", Cert: "a", Key: "b", FirstByte: 1, Idle: 1}, "<nil>")
	f(Options{RTSPS: ":1", Cert: "a", Key: "b", FirstByte: 1, Idle: 1}, "<nil>")
	f(Options{RTSPS: ":1", Cert: "a", FirstByte: 1, Idle: 1}, "-tls.key is empty: -https and -rtsps need it")
	f(Options{ClientAuth: "require", HTTPS: ":1"}, strings.Join([]string{
		"-tls.cert is empty: -https and -rtsps need it",
		"-tls.key is empty: -https and -rtsps need it",
		"-front.first-byte 0s: must be more than 0",
		"-front.idle 0s: must be more than 0",
	}, "\n"))
	f(Options{FirstByte: 1, Idle: 1}, "-http, -rtsp, -https and -rtsps are all empty: nobody could come in")
	f(Options{FirstByte: -1, DrainNotice: -2, DrainTimeout: -3 * time.Second}, strings.Join([]string{
		"-http, -rtsp, -https and -rtsps are all empty: nobody could come in",
		"-front.first-byte -1ns: must be more than 0",
		"-front.idle 0s: must be more than 0",
		"-drain.notice -2ns: must not be negative",
		"-drain.timeout -3s: must not be negative",
	}, "\n"))
}

// A port in use is said with the flag that changes it, and nothing stays bound.
func TestBusyPort(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	f := func(o Options, want string) {
		t.Helper()
		_, err := New(Config{Options: o, Handler: proxy.Refuse, Gate: proxy.Open, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
		if err == nil || err.Error() != want {
			t.Errorf("New: %v, want %s", err, want)
		}
	}
	addr := busy.Addr().String()
	f(Options{RTSP: addr}, "listen for rtsp on "+addr+": bind: address already in use (choose another with -rtsp)")
	f(Options{HTTP: addr}, "listen for http on "+addr+": bind: address already in use (choose another with -http)")
	f(Options{HTTP: "nonsense"}, "listen for http on nonsense: address nonsense: missing port in address (choose another with -http)")

	free := proxytest.ClosedAddr(t)
	f(Options{RTSP: free, HTTP: addr}, "listen for http on "+addr+": bind: address already in use (choose another with -http)")
	l, err := net.Listen("tcp", free)
	if err != nil {
		t.Fatalf("the other port is still bound: %v", err)
	}
	l.Close()
}

// One protocol alone is a whole front.
func TestOneProtocol(t *testing.T) {
	d := open(t, ladder{}, func(c *Config) { c.HTTP = "" })
	if d.HTTPAddr() != nil {
		t.Errorf("HTTP on %v", d.HTTPAddr())
	}
	if res := d.viaRTSP(t, options).answer(); res.Code != 200 {
		t.Errorf("OPTIONS = %d", res.Code)
	}
	d = open(t, ladder{http: ok}, func(c *Config) { c.RTSP = "" })
	if d.RTSPAddr() != nil {
		t.Errorf("RTSP on %v", d.RTSPAddr())
	}
	if res, _ := d.viaHTTP(t, get).response(); res.StatusCode != 200 {
		t.Errorf("GET = %d", res.StatusCode)
	}
}
