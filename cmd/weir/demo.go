package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/proxy/origintest"
	"weir/proxy/viewer"
)

const (
	demoPath  = "/live/clock"
	demoEvery = 500 * time.Millisecond // between two of the demo's own viewers
	minKill   = time.Second            // within which one origin can be back before the other goes
)

// demo runs the whole product on this machine: two embedded origins, an edge in
// front of them, and a few viewers so that there is something to see.
func demo(ctx context.Context, in invocation) error {
	c := newConfig("weir demo", in.stderr)
	for name, value := range map[string]string{"rtsp": "127.0.0.1:8554", "http": "127.0.0.1:8080",
		"splitter.udp": "127.0.0.1:8000", "log.level": "warn", "drain.notice": "0s"} {
		c.set(name, value)
	}
	d := &demonstration{stdout: in.stdout}
	c.fs.DurationVar(&d.length, "for", 0, "how long to run; 0 means until Ctrl-C")
	c.fs.BoolVar(&d.json, "json", false, "print what happened as one JSON object, and nothing else, on standard output")
	c.fs.DurationVar(&d.kill, "kill", 0, "how often to kill the origin in use, of which no viewer shall notice; 0 means never")
	c.fs.IntVar(&d.viewers, "viewers", 5, "how many viewers of its own the demo starts, half a second apart")
	if err := c.parse(in.args); err != nil {
		return err
	}
	if c.front.RTSP == "" || d.viewers < 0 || d.kill < 0 || d.kill > 0 && d.kill < minKill {
		return fmt.Errorf("the demo needs -rtsp, 0 or more -viewers, and %v at least between two -kill", minKill)
	}
	if d.viewers > 0 && asksCredentials(c) {
		return errors.New("the demo's own viewers have no credentials: with -admission.keys, .jwt, .users or -tls.client-ca it needs -viewers 0")
	}
	return d.run(ctx, c, in)
}

// asksCredentials reports whether everybody needs some to come in. A hook may let in
// those who have none.
func asksCredentials(c *config) bool {
	return c.gate.Hook == "" && c.gate.Keys+c.gate.JWT+c.gate.Users+c.front.ClientCA != ""
}

// A demonstration is one run of the demo.
type demonstration struct {
	length  time.Duration
	kill    time.Duration // between two
	viewers int
	json    bool
	stdout  io.Writer

	origins []*origintest.Origin
	node    *node
	began   time.Time

	pauses pauses // since the last kill
	killed atomic.Int64

	mu    sync.Mutex
	seen  []*viewer.Viewer // the demo's own, that played
	worst time.Duration    // the longest pause after a kill
}

func (d *demonstration) run(ctx context.Context, c *config, in invocation) error {
	log, level := c.logger(in.stderr)
	if err := d.build(c, log, level); err != nil {
		return err
	}
	if d.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.length)
		defer cancel()
	}
	d.began = time.Now()
	d.say("%s", d.welcome())
	// The origins outlive the node, and the viewers end before it.
	lasting := context.WithoutCancel(ctx)
	stopOrigins := spawn(lasting, func(ctx context.Context) { d.serve(ctx, log) })
	defer stopOrigins()
	stopViewers := spawn(lasting, func(ctx context.Context) { d.watch(ctx, log) })
	defer stopViewers()
	if d.kill > 0 {
		defer spawn(ctx, func(ctx context.Context) { d.killOrigins(ctx, log) })()
	}
	var nodeErr error
	signals := make(chan os.Signal, 2) // the node's: it is to know of the second one
	nodeDone := make(chan struct{})
	stopNode := spawn(lasting, func(ctx context.Context) {
		defer close(nodeDone)
		nodeErr = d.node.run(ctx, signals)
	})
	select {
	case <-ctx.Done():
	case sig := <-in.signals:
		signals <- sig
	case <-nodeDone: // a part failed
	}
	report := d.report()
	stopViewers()
	go forward(in.signals, signals, nodeDone)
	stopNode()
	return errors.Join(nodeErr, d.tell(report))
}

// build makes the origins, and the node that has them.
func (d *demonstration) build(c *config, log *zap.Logger, level zap.AtomicLevel) (err error) {
	for range 2 {
		o, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0", HTTP: "127.0.0.1:0", Log: log})
		if err != nil {
			return fmt.Errorf("embedded origin: %w", err)
		}
		d.origins = append(d.origins, o)
		c.set("origin", o.URL())
		c.set("origin", o.HTTPURL())
	}
	d.node, err = newNode(c, log, level)
	return err
}

// spawn runs a function in the background; stop asks it to end and waits for it,
// and may be called again.
func spawn(ctx context.Context, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { run(ctx) })
	return func() { cancel(); wg.Wait() }
}

// forward hands on signals until done.
func forward(from <-chan os.Signal, to chan<- os.Signal, done <-chan struct{}) {
	for {
		select {
		case sig := <-from:
			to <- sig
		case <-done:
			return
		}
	}
}

// serve runs the origins.
func (d *demonstration) serve(ctx context.Context, log *zap.Logger) {
	var wg sync.WaitGroup
	for _, o := range d.origins {
		wg.Go(func() {
			if err := o.Run(ctx); err != nil {
				log.Error("embedded origin", zap.Error(err))
			}
		})
	}
	wg.Wait()
}

// welcome says what to open.
func (d *demonstration) welcome() string {
	rtsp := "rtsp://" + d.node.front.RTSPAddr().String()
	until := "until Ctrl-C"
	if d.length > 0 {
		until = "for " + d.length.String()
	}
	file := ""
	if a := d.node.front.HTTPAddr(); a != nil {
		file = "\n  or HLS   ffplay http://" + a.String() + "/clip.m3u8   (cached: the origin is asked once)"
	}
	return fmt.Sprintf(`Weir runs here %[1]s: two origins, one edge, and %[2]d viewers of its own.

  watch    ffplay %[3]s%[4]s
           (or mpv, gst-play-1.0; also %[3]s/live/video and %[3]s/live/radio)
  seek in  ffplay %[3]s/vod/clip%[6]s
  look at  http://%[5]s/

`, until, d.viewers, rtsp, demoPath, d.node.admin.Addr(), file)
}

// watch runs the demo's viewers, who come one after another.
func (d *demonstration) watch(ctx context.Context, log *zap.Logger) {
	url := "rtsp://" + d.node.front.RTSPAddr().String() + demoPath
	var wg sync.WaitGroup
	defer wg.Wait()
	files := &http.Client{Transport: &http.Transport{}}
	defer files.CloseIdleConnections()
	tick := time.NewTicker(demoEvery)
	defer tick.Stop()
	for i := range d.viewers {
		wg.Go(func() {
			if err := d.view(ctx, url, i); err != nil && ctx.Err() == nil {
				log.Warn("viewer", zap.Int("number", i+1), zap.Error(err))
			}
		})
		wg.Go(func() {
			if err := d.fetch(ctx, files); err != nil && ctx.Err() == nil {
				log.Warn("viewer over HTTP", zap.Int("number", i+1), zap.Error(err))
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (d *demonstration) view(ctx context.Context, url string, i int) error {
	v, err := viewer.Open(ctx, viewer.Options{URL: url, UserAgent: "weir demo, viewer " + strconv.Itoa(i+1),
		OnPacket: func(int, []byte) { d.pauses.saw(i) }})
	if err != nil {
		return err
	}
	defer d.pauses.left(i)
	d.mu.Lock()
	d.seen = append(d.seen, v)
	d.mu.Unlock()
	return v.Run(ctx)
}

// fetch reads the clip over HTTP, as it is stored.
func (d *demonstration) fetch(ctx context.Context, c *http.Client) error {
	a := d.node.front.HTTPAddr()
	if a == nil {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.String()+"/clip.ts", nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// say prints for people.
func (d *demonstration) say(format string, args ...any) {
	if !d.json {
		fmt.Fprintf(d.stdout, format, args...)
	}
}
