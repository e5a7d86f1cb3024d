package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"

	"weir/proxy/viewer"
)

// maxLoad is the most viewers of one load: a process has no more ports.
const maxLoad = 50_000

// A load is what weir load is asked for.
type load struct {
	url           *url.URL
	transport     string
	viewers       int
	stall         int // so many of the viewers stop reading
	length, every time.Duration
	json          bool
	insecure      bool
}

// loadCommand views a URL many times over and tells what came. It fails if not
// all viewers saw the end.
func loadCommand(ctx context.Context, in invocation) error {
	l, err := parseLoad(in)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, in.signals)
	defer stop()
	r := newLoadRun(l).run(ctx, newLoadBar(in.stderr, l.length))
	if err := r.print(in.stdout, l.json); err != nil {
		return err
	}
	return r.verdict()
}

func parseLoad(in invocation) (*load, error) {
	l := &load{}
	fs := flag.NewFlagSet("weir load", flag.ContinueOnError)
	address := fs.String("url", "", "what to view: an rtsp:// or rtsps:// `URL` of a stream, or one of http:// or https://: a playlist of HLS, or any file")
	fs.IntVar(&l.viewers, "viewers", 1, "how many `viewers` at once, each with connections of its own")
	fs.StringVar(&l.transport, "transport", "tcp", "how media comes over RTSP: `tcp|udp`; over udp a machine that is too busy loses packets by itself")
	fs.DurationVar(&l.length, "for", 30*time.Second, "how long, from the first viewer on; rates over RTSP are those of the second half, when the starts are over")
	fs.DurationVar(&l.every, "every", 5*time.Millisecond, "time between two arrivals; 0 is all at once, which no audience does")
	fs.IntVar(&l.stall, "stall", 0, "how many of the `viewers` take nothing more from their first packet on, to see what that does to the others (RTSP over tcp)")
	fs.BoolVar(&l.json, "json", false, "print the result as one JSON object, and nothing else, on standard output")
	fs.BoolVar(&l.insecure, "insecure", false, "take any certificate of the server for good")
	err := parseTool(fs, in, "[flags] -url URL",
		"Views a stream many times over, and tells how many viewers saw it to the end, what they got and missed, and how soon.\n"+
			"A playlist of HLS is played as a player would, that of the most bits a second, from three target durations before\n"+
			"the live edge on, without sound that is separate; any other file over HTTP is fetched again and again.\n"+
			"The exit code is 1 if not all viewers saw the end.")
	if err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q is one too many: what to view is given with -url (%w)", fs.Arg(0), errUsage)
	}
	if err := errors.Join(l.setURL(*address), l.check()); err != nil {
		return nil, fmt.Errorf("%w (%w)", err, errUsage)
	}
	return l, nil
}

// setURL's errors do not repeat the URL: there may be credentials in it.
func (l *load) setURL(s string) (err error) {
	if s == "" {
		return errors.New("say -url: what is to be viewed")
	}
	l.url, err = url.Parse(s)
	if bad, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("-url: %w", bad.Err)
	}
	switch l.url.Scheme {
	case "rtsp", "rtsps", "http", "https":
	default:
		return errors.New("-url: must be a URL of rtsp, rtsps, http or https")
	}
	if l.url.Hostname() == "" {
		return errors.New("-url: names no server")
	}
	return nil
}

// check reports all mistakes together.
func (l *load) check() error {
	var errs []error
	f := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	f(l.viewers >= 1 && l.viewers <= maxLoad, "-viewers %d: must be 1 to %d", l.viewers, maxLoad)
	f(l.transport == "tcp" || l.transport == "udp", "-transport %q: must be tcp or udp", l.transport)
	f(l.length > 0, "-for %v: must be more than 0", l.length)
	f(l.every >= 0, "-every %v: must not be negative", l.every)
	// Or the second half would tell of starts.
	f(l.every <= l.length/2/time.Duration(max(l.viewers-1, 1)), "-for %v: must be twice as long as %d viewers take to come, %v apart", l.length, l.viewers, l.every)
	f(l.stall >= 0 && l.stall <= l.viewers, "-stall %d: must be 0 to -viewers", l.stall)
	if l.url != nil {
		f(l.url.Scheme == "rtsp" || l.transport != "udp", "-transport udp: only rtsp:// has it")
		f(l.rtsp() && l.transport != "udp" || l.stall == 0, "-stall %d: only RTSP over tcp has it", l.stall)
	}
	return errors.Join(errs...)
}

func (l *load) rtsp() bool { return strings.HasPrefix(l.url.Scheme, "rtsp") }

// seat makes the n-th viewer.
func (l *load) seat(n int) loadSeat {
	secure := &tls.Config{InsecureSkipVerify: l.insecure}
	if l.rtsp() {
		s := &rtspSeat{stall: n < l.stall, o: viewer.Options{URL: l.url.String(), Transport: l.transport, UserAgent: loadAgent, TLS: secure}}
		if s.stall {
			s.o.Timeout = loadPatience + l.length // it reads no answers either, and shall not leave for that
		}
		return s
	}
	return newHTTPSeat(l.url, secure, loadTook/l.viewers)
}
