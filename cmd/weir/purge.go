package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"
	"github.com/peterbourgon/ff/v3/ffyaml"

	"weir/proxy"
	"weir/proxy/admin"
)

const (
	// purgePatience bounds a call: a node looks through all it has stored.
	purgePatience = time.Minute
	// The door takes 1000 URLs and 64 KiB at a time; JSON may double a URL.
	purgeURLs, purgeBytes = 1000, 24 << 10
	// maxDoorAnswer bounds what is read of an answer, in bytes.
	maxDoorAnswer = 64 << 10
)

// A purging is what weir purge is asked for, and of whom.
type purging struct {
	door   *url.URL
	token  string
	order  purgeOrder
	urls   []string
	client *http.Client
}

// A purgeOrder is a call of POST /cache/purge.
type purgeOrder struct {
	URLs   []string `json:"urls,omitempty"`
	Prefix string   `json:"prefix,omitempty"`
	Tag    string   `json:"tag,omitempty"`
	Soft   bool     `json:"soft,omitempty"`
}

// purgeCommand has a running node, and with it its cluster, forget what it has
// stored.
func purgeCommand(ctx context.Context, in invocation) error {
	p := &purging{client: &http.Client{
		Transport:     &http.Transport{},                                                             // no proxy from the environment
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this node
		Timeout:       purgePatience,
	}}
	defer p.client.CloseIdleConnections()
	if err := p.parse(in); err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, in.signals)
	defer stop()
	n, err := p.all(ctx)
	if err != nil {
		return err
	}
	what := "purged"
	if p.order.Soft {
		what = "to be validated before use"
	}
	fmt.Fprintf(in.stdout, "%s %s\n", counted(n, "object"), what)
	return nil
}

func (p *purging) parse(in invocation) (err error) {
	fs := flag.NewFlagSet("weir purge", flag.ContinueOnError)
	door := admin.Flags(fs)
	fs.BoolVar(&p.order.Soft, "soft", false, "keep what is stored, but validate it with the origin before it is used again")
	fs.StringVar(&p.order.Prefix, "prefix", "", "purge all whose path begins with this `path`: /live/ is a folder, / is everything")
	fs.StringVar(&p.order.Tag, "tag", "", "purge all that the origin gave this `tag`, in Surrogate-Key or Cache-Tag")
	err = parseTool(fs, in, "[flags] -prefix PATH | -tag TAG | URL...",
		"Has a running node forget what its cache has stored, and the other nodes of its cluster, once it is in one.\n"+
			"A URL is a path like /vod/a.mp4, or all of it; host and scheme do not count.")
	if err != nil {
		return err
	}
	kinds := 0
	for _, given := range []bool{p.order.Prefix != "", p.order.Tag != "", fs.NArg() > 0} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		return fmt.Errorf("say what to purge: URLs, or -prefix, or -tag (%w)", errUsage)
	}
	p.urls, p.token = fs.Args(), door.Token
	p.door, err = serverURL("-admin", door.Addr)
	return err
}

// all makes as many calls as are needed, and returns how many objects were purged.
func (p *purging) all(ctx context.Context) (n int, err error) {
	for first := true; first || len(p.urls) > 0; first = false {
		p.order.URLs, p.urls = batch(p.urls)
		purged, err := p.call(ctx)
		if err != nil {
			return n, err
		}
		n += purged
	}
	return n, nil
}

// batch splits off what one call can hold, at least one.
func batch(urls []string) (now, later []string) {
	size := 0
	for i, u := range urls {
		if size += len(u); i > 0 && (i == purgeURLs || size > purgeBytes) {
			return urls[:i], urls[i:]
		}
	}
	return urls, nil
}

func (p *purging) call(ctx context.Context) (purged int, err error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // or each "&" would be six bytes
	if err := enc.Encode(p.order); err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.door.JoinPath("cache/purge").String(), &body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("purge at %s: %w", proxy.Redact(p.door), hinted(ctx, err, "is the node running, and is -admin right?"))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxDoorAnswer))
	if err != nil {
		return 0, fmt.Errorf("purge at %s: %w", proxy.Redact(p.door), err)
	}
	return p.read(res.StatusCode, answer)
}

// read says what an answer means.
func (p *purging) read(code int, answer []byte) (purged int, err error) {
	said := strings.TrimSpace(string(answer[:min(len(answer), 300)]))
	at := proxy.Redact(p.door)
	switch {
	case code == http.StatusUnauthorized && p.token == "":
		return 0, fmt.Errorf("the node at %s asks for its token: set WEIR_ADMIN_TOKEN or -admin.token", at)
	case code == http.StatusUnauthorized:
		return 0, fmt.Errorf("the node at %s has another token than that of WEIR_ADMIN_TOKEN or -admin.token", at)
	case code == http.StatusNotFound:
		return 0, fmt.Errorf("the node at %s has no cache: is it in its -mode, and is -admin right?", at)
	case code != http.StatusOK:
		return 0, fmt.Errorf("purge at %s: status %d: %s", at, code, cmp.Or(said, "it does not say why"))
	}
	var n struct{ Purged *int }
	if json.Unmarshal(answer, &n) != nil || n.Purged == nil {
		return 0, fmt.Errorf("purge at %s: it answers %.80q: is this the door of a node?", at, said)
	}
	return *n.Purged, nil
}

// parseTool parses the command line of a command that speaks to a node: then the
// environment and -config, as the node itself does, of which the file may be.
func parseTool(fs *flag.FlagSet, in invocation, synopsis, text string) error {
	fs.SetOutput(io.Discard) // mistakes are reported once, by main
	fs.String("config", "", "`file` in YAML with the flags' names as keys, the node's for instance; command line and environment override it")
	fs.Usage = func() {
		fs.SetOutput(in.stderr)
		fmt.Fprintf(in.stderr, "Usage: %s %s\n\n%s\nEvery flag can stand in the environment (WEIR_ADMIN_TOKEN for -admin.token) or in -config.\n\n", fs.Name(), synopsis, text)
		fs.PrintDefaults()
	}
	err := ff.Parse(fs, in.args, ff.WithEnvVarPrefix("WEIR"), ff.WithIgnoreUndefined(true),
		ff.WithConfigFileFlag("config"), ff.WithConfigFileParser(ffyaml.Parser))
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	for _, arg := range fs.Args() {
		if len(arg) > 1 && arg[0] == '-' {
			return fmt.Errorf("%s must stand before the first URL (%w)", arg, errUsage)
		}
	}
	return nil
}

// serverURL reads host:port as well as a URL without a path.
func serverURL(flag, s string) (*url.URL, error) {
	full := s
	if !strings.Contains(s, "://") {
		full = "http://" + s
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("%s %.80q is neither host:port nor a URL of a server (%w)", flag, s, errUsage)
	}
	u.Path = ""
	return u, nil
}

// hinted returns why ctx ended, if it has; else it adds a hint to an error if the server was not even reached.
func hinted(ctx context.Context, err error, hint string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // what was asked for has been said
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("%w: %s", err, hint)
	}
	return err
}

// errInterrupted says that a signal came before a command was done.
var errInterrupted = errors.New("stopped before the end")

// untilSignal returns a context that ends with the first signal. stop frees what
// it holds.
func untilSignal(ctx context.Context, signals <-chan os.Signal) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := spawn(ctx, func(ctx context.Context) {
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	})
	return ctx, func() { unwatch(); cancel(nil) }
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
