package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"

	"weir/proxy"
)

const (
	// warmAhead is how many URLs of the lists are read ahead, so that it can be said
	// how far it is.
	warmAhead = 10_000
	// warmTold is how many failures are told one by one.
	warmTold = 5
	// warmParallel is the most requests at once.
	warmParallel = 256
)

// A warmer asks an edge for URLs, as a viewer would, so that they are stored.
type warmer struct {
	edge     *url.URL
	parallel int
	follow   bool
	pace     pace
	client   *http.Client

	listed atomic.Int64 // URLs read from the lists
	bar    *progressbar.ProgressBar
	tally  warmTally // the dispatcher's
}

// A warmTally is what has come of it.
type warmTally struct {
	found    int // URLs in playlists
	done     int
	failed   int
	failures []string // the first ones
	stock    [4]int   // the others, by stock
	bytes    int64
}

// warmCommand has a node store what it will be asked for.
func warmCommand(ctx context.Context, in invocation) error {
	return warm(ctx, in, os.Stdin)
}

func warm(ctx context.Context, in invocation, stdin io.Reader) error {
	fs := flag.NewFlagSet("weir warm", flag.ContinueOnError)
	w := &warmer{}
	edge := fs.String("edge", "http://127.0.0.1:8080", "`URL` of the edge that is to store; every URL is asked of it, with its own host name")
	fs.IntVar(&w.parallel, "parallel", 4, "how many `requests` at once; many take the origin from viewers")
	fs.Var(&w.pace.rate, "rate", "how fast to read on average, all requests together, like 200Mbit/s; 0 is as fast as it goes.\n"+
		"An edge may fetch a large object faster than it is read")
	fs.BoolVar(&w.follow, "follow", false, "follow HLS playlists, too: their renditions, and all segments these list")
	if err := parseTool(fs, in, "[flags] URL|@FILE|-...",
		"Asks an edge for URLs so that its cache has them: given here, in files with one a line, or (-) on standard input.\n"+
			"Lines that are empty or begin with # are skipped. A path is one of the edge."); err != nil {
		return err
	}
	if err := w.check(*edge, fs.NArg()); err != nil {
		return err
	}
	w.client = newWarmClient(w.parallel)
	defer w.client.CloseIdleConnections()
	w.bar = newWarmBar(in.stderr)
	ctx, stop := untilSignal(ctx, in.signals)
	defer stop()
	began := time.Now()
	list := make(chan errand, warmAhead)
	// It ends with ctx, but for a read of standard input that nothing ends: it is not waited for.
	go w.read(ctx, fs.Args(), stdin, list)
	w.dispatch(ctx, list)
	w.bar.Clear() //nolint:errcheck // it is for show
	return w.report(ctx, in, time.Since(began))
}

func (w *warmer) check(edge string, args int) (err error) {
	if w.parallel < 1 || w.parallel > warmParallel {
		err = fmt.Errorf("-parallel %d: must be 1 to %d (%w)", w.parallel, warmParallel, errUsage)
	}
	if args == 0 {
		err = errors.Join(err, fmt.Errorf("say what to ask for: URLs, @FILE, or - for standard input (%w)", errUsage))
	}
	var edgeErr error
	w.edge, edgeErr = serverURL("-edge", edge)
	return errors.Join(err, edgeErr)
}

// newWarmBar shows on terminals only; nothing is written elsewhere.
func newWarmBar(stderr io.Writer) *progressbar.ProgressBar {
	return progressbar.NewOptions64(1, progressbar.OptionSetWriter(stderr), progressbar.OptionSetVisibility(terminal(stderr)),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30))
}

// read reads what is to be asked for, from arguments and the lists they name, and
// closes list.
func (w *warmer) read(ctx context.Context, args []string, stdin io.Reader, list chan<- errand) {
	defer close(list)
	for _, arg := range args {
		file, isFile := strings.CutPrefix(arg, "@")
		var err error
		switch {
		case arg == "-":
			err = w.lines(ctx, stdin, list)
		case isFile:
			err = w.file(ctx, file, list)
		default:
			err = w.send(ctx, w.errand(arg), list)
		}
		if err != nil && w.send(ctx, errand{name: arg, err: err}, list) != nil {
			return
		}
	}
}

func (w *warmer) file(ctx context.Context, name string, list chan<- errand) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return w.lines(ctx, f, list)
}

func (w *warmer) lines(ctx context.Context, r io.Reader, list chan<- errand) error {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := w.send(ctx, w.errand(line), list); err != nil {
			return err
		}
	}
	return sc.Err()
}

func (w *warmer) send(ctx context.Context, e errand, list chan<- errand) error {
	select {
	case list <- e:
		w.listed.Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errand reads a URL of a list.
func (w *warmer) errand(s string) errand {
	u, err := w.edge.Parse(s)
	if err == nil && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		err = errors.New("neither a path nor a URL of http or https")
	}
	if err != nil {
		return errand{name: s, err: err}
	}
	return errand{name: proxy.Redact(u), url: u}
}

// report tells how it went; the error is for what failed.
func (w *warmer) report(ctx context.Context, in invocation, took time.Duration) error {
	t := &w.tally
	fmt.Fprintf(in.stdout, "%s: %d stored now, %d before, %d not, %d failed; %.1f MB in %.1f s\n", counted(t.done, "URL"),
		t.stock[stockNow], t.stock[stockBefore], t.stock[stockNot]+t.stock[stockUnsaid], t.failed, float64(t.bytes)/1e6, took.Seconds())
	if n := t.stock[stockUnsaid]; n > 0 && n == t.done-t.failed {
		fmt.Fprintln(in.stderr, "No answer came through a cache (Cache-Status): is there one in this edge's -mode, and is -edge right?")
	}
	var err error
	if t.failed > 0 {
		more := ""
		if t.failed > len(t.failures) {
			more = "\n  and others"
		}
		err = fmt.Errorf("%d of %s failed:\n  %s%s", t.failed, counted(t.done, "URL"), strings.Join(t.failures, "\n  "), more)
	}
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return err
}
