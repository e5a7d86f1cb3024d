package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/zap"

	"weir/proxy/origintest"
	"weir/proxy/viewer"
	"weir/proxy/wire"
)

// originMain is an origin as a process.
func originMain() {
	fs := flag.NewFlagSet("origin", flag.ExitOnError)
	addr := fs.String("addr", "127.0.0.1:0", "")
	user := fs.String("user", "", "")
	password := fs.String("password", "", "")
	files := fs.String("http", "", "")
	dir := fs.String("files", "", "")
	web := fs.String("replica", "", "")
	lag := fs.Duration("lag", 0, "")
	fs.Parse(os.Args[1:]) //nolint:errcheck // exits
	if *web != "" {
		go (&replica{lag: *lag}).serve(*web) //nolint:errcheck // who asks it finds out
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	opt := origintest.Options{Addr: *addr, HTTP: *files, User: *user, Password: *password, Log: zap.NewNop()}
	if *dir != "" {
		opt.Files = os.DirFS(*dir)
	}
	o, err := origintest.New(opt)
	if err == nil {
		err = o.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// crowdMain is many viewers of one stream, as a process. It tells how many played
// to the end (alive) or were closed by the server, what they lost, whether packets
// still came at the end, and over how long a time the closed ones were closed.
func crowdMain() {
	fs := flag.NewFlagSet("crowd", flag.ExitOnError)
	url := fs.String("url", "", "")
	n := fs.Int("n", 1, "")
	length := fs.Duration("for", time.Second, "")
	fs.Parse(os.Args[1:]) //nolint:errcheck // exits
	ctx, cancel := context.WithTimeout(context.Background(), *length)
	defer cancel()
	members := make([]member, *n)
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() { members[i].watch(ctx, *url) })
	}
	wg.Wait()
	report := map[string]float64{"alive": 0, "closed": 0, "lost": 0, "at_the_end": 0, "spread_ms": 0}
	var first, last time.Time
	for _, m := range members {
		report["lost"] += float64(m.stats.Lost)
		if m.lately {
			report["at_the_end"]++
		}
		if m.err == nil {
			report["alive"]++
			continue
		}
		fmt.Fprintln(os.Stderr, m.err)
		report["closed"]++
		if first.IsZero() || m.ended.Before(first) {
			first = m.ended
		}
		if m.ended.After(last) {
			last = m.ended
		}
	}
	report["spread_ms"] = float64(last.Sub(first).Milliseconds())
	json.NewEncoder(os.Stdout).Encode(report) //nolint:errcheck
}

// A member of the crowd.
type member struct {
	stats  viewer.Stats
	lately bool // packets came in its last second
	err    error
	ended  time.Time
}

func (m *member) watch(ctx context.Context, url string) {
	var last atomic.Int64
	v, err := viewer.Open(ctx, viewer.Options{URL: url, OnPacket: func(int, []byte) { last.Store(time.Now().UnixNano()) }})
	if err == nil {
		err = v.Run(ctx)
		m.stats = v.Stats()
	}
	m.err, m.ended = err, time.Now()
	m.lately = m.ended.Sub(time.Unix(0, last.Load())) < time.Second
}

// sendSignal sends a signal to the background processes of a command: signal TERM
// weir. (kill knows KILL and INT only.)
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal TERM|HUP command")
	}
	for _, cmd := range ts.BackgroundCmds() {
		if filepath.Base(cmd.Path) == args[1] {
			ts.Check(cmd.Process.Signal(signals[args[0]]))
		}
	}
}

// patience is how long await waits.
const patience = 20 * time.Second

// await waits until something is so:
//
//	await tcp ADDR              somebody listens
//	await refused ADDR          nobody does any more
//	await http URL STATUS TEXT  an answer of that status holds TEXT
//	await certificate ADDR NAME  the certificate of NAME is shown there
func await(ts *testscript.TestScript, neg bool, args []string) {
	var so func() (bool, string)
	switch {
	case neg:
		ts.Fatalf("await cannot be negated")
	case len(args) == 2 && args[0] == "tcp":
		so = func() (bool, string) { err := dial(args[1]); return err == nil, fmt.Sprint(err) }
	case len(args) == 2 && args[0] == "refused":
		so = func() (bool, string) { err := dial(args[1]); return err != nil, fmt.Sprint(err) }
	case len(args) == 3 && args[0] == "certificate":
		so = func() (bool, string) { return shows(args[1], args[2]) }
	case len(args) == 4 && args[0] == "http":
		so = func() (bool, string) { return holds(args[1], args[2], args[3]) }
	default:
		ts.Fatalf("usage: await tcp|refused addr, await certificate addr name, await http url status text")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		ok, is := so()
		if ok {
			return
		}
		last = is
	}
	ts.Fatalf("await %s: last was %s", strings.Join(args, " "), last)
}

func dial(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

// get prints what an HTTP GET answers: get [-u USER:PASSWORD] URL.
func get(ts *testscript.TestScript, neg bool, args []string) {
	user, password, url := "", "", args[len(args)-1]
	if len(args) == 3 && args[0] == "-u" {
		user, password, _ = strings.Cut(args[1], ":")
	} else if neg || len(args) != 1 {
		ts.Fatalf("usage: get [-u user:password] url")
	}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	ts.Check(err)
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	_, err = io.Copy(ts.Stdout(), res.Body)
	ts.Check(err)
}

func holds(url, status, text string) (bool, string) {
	res, err := http.Get(url)
	if err != nil {
		return false, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return false, err.Error()
	}
	return fmt.Sprint(res.StatusCode) == status && strings.Contains(string(b), text), fmt.Sprintf("%d %s", res.StatusCode, b)
}

// rtsp sends one request and checks the status code: rtsp METHOD URL CODE
// [WITHIN].
func rtsp(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: rtsp method url code [within]")
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(args[1], "rtsp://"), "/")
	c, err := net.Dial("tcp", host)
	ts.Check(err)
	defer c.Close()
	within := 10 * time.Second
	if len(args) > 3 {
		within, err = time.ParseDuration(args[3])
		ts.Check(err)
	}
	c.SetDeadline(time.Now().Add(within)) //nolint:errcheck // the read says it
	fmt.Fprintf(c, "%s %s RTSP/1.0\r\nCSeq: 5\r\n\r\n", args[0], args[1])
	m, err := wire.NewReader(bufio.NewReader(c)).Next()
	ts.Check(err)
	res, ok := m.(*wire.Response)
	if !ok || (fmt.Sprint(res.Code) == args[2]) == neg {
		ts.Fatalf("%s %s: %+v, want %s", args[0], args[1], m, args[2])
	}
	fmt.Fprintf(ts.Stdout(), "%d %s %v\n", res.Code, res.Phrase, res.Header)
}
