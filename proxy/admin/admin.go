// Package admin is the operators' door of a node: health for load balancers,
// metrics, the status page and its JSON, profiles, the log level, and the pages
// that parts bring along (proxy.Adminer).
//
// It is not for viewers, has no TLS of its own, and knows no mode: what it shows
// of a part is what the part's Ready and Status say. It changes nothing but the
// log level.
//
// /livez, /healthz and /readyz answer everybody. Everything else changes or
// reveals something and stands behind a guard (see guard.go): open on loopback,
// else by token only.
//
// Limits: request headers of 16 KiB, a new log level of 1 KiB; the page shows
// 200 rows of a table, 50 of a nested one, and 256 bytes of a text; /status.json
// shows all. There is no limit on connections.
package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// grace is how long requests may go on when the node ends, and how long the
// connections may then take to notice that they were closed. Twice this is the
// longest that Run takes to return.
const grace = 400 * time.Millisecond

// Options are the flags of the door.
type Options struct {
	// Addr is host:port to listen on. On a loopback address the door is open to
	// the machine; on any other it needs Token. It must not be empty.
	Addr string // default 127.0.0.1:9090

	// Token is what an operator presents, as "Authorization: Bearer …" or as the
	// password of Basic authentication. If set it is needed on loopback too.
	// Without one, a door off loopback tells health and nothing else.
	Token string // default none
}

// Flags declares the door's flags on fs; the Options are complete when fs has
// been parsed.
func Flags(fs *flag.FlagSet) *Options {
	o := &Options{}
	fs.StringVar(&o.Addr, "admin", "127.0.0.1:9090", "`host:port` of the operators' door: health, metrics, status page;\n"+
		"off loopback all but health needs -admin.token")
	fs.StringVar(&o.Token, "admin.token", "", "`secret` asked of operators, as a bearer token or as the password of Basic;\n"+
		"none: open on loopback, health only elsewhere. Better set as WEIR_ADMIN_TOKEN: flags show in process lists")
	return o
}

// A Named is a part and what operators call it: the line of /readyz, the
// heading on the page, the key in /status.json and the path of its own pages.
type Named struct {
	Name string // lower-case letters, digits and dashes; unique
	Part proxy.Part
}

// Config is what the door shows and changes. Every field is needed but Parts.
type Config struct {
	Parts   []Named             // in the order they are shown
	Level   zap.AtomicLevel     // of the node's log
	Metrics prometheus.Gatherer // what /metrics gathers
	Version string              // of the program
	Log     *zap.Logger
}

// An Admin is the door. Its methods may be called by any goroutine, Run once.
type Admin struct {
	conf     Config
	log      *zap.Logger
	ln       net.Listener
	guard    *guard
	page     *page
	started  time.Time
	draining atomic.Bool
}

// New binds the door and serves nothing yet. Run closes it.
func New(o Options, c Config) (*Admin, error) {
	if err := checkNames(c.Parts); err != nil {
		return nil, err
	}
	if o.Addr == "" { // net.Listen would take any port on every interface
		return nil, errors.New("admin: no address to listen on (set -admin)")
	}
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin: listen %s: %w (choose another with -admin)", o.Addr, cause(err))
	}
	return newAdmin(o, c, ln), nil
}

func newAdmin(o Options, c Config, ln net.Listener) *Admin {
	return &Admin{
		conf: c, log: c.Log.Named("admin"), ln: ln,
		guard: newGuard(o, ln.Addr()), page: newPage(), started: time.Now(),
	}
}

var partName = regexp.MustCompile(`^[a-z0-9-]+$`)

func checkNames(parts []Named) error {
	seen := map[string]bool{}
	for _, p := range parts {
		if !partName.MatchString(p.Name) || seen[p.Name] {
			return fmt.Errorf("admin: part name %q is not usable or used twice", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// cause strips what net says around an error: the address and the system call
// would stand in the sentence twice.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}

// Addr is the address the door is bound to.
func (a *Admin) Addr() net.Addr { return a.ln.Addr() }

// Drain makes /readyz say 503 from now on, so that load balancers send no new
// viewers. Everything else goes on. More calls do nothing.
func (a *Admin) Drain() { a.draining.Store(true) }

// Run answers operators until ctx is done. It returns within a second after
// that; a profile being taken is cut short and delivered.
func (a *Admin) Run(ctx context.Context) error {
	var conns sync.WaitGroup
	srv := a.server(ctx, &conns)
	served := make(chan error, 1)
	go serve(srv, a.ln, served)
	select {
	case err := <-served:
		srv.Close() //nolint:errcheck // what made Serve end is the better error
		a.await(&conns)
		return fmt.Errorf("admin: serve %s: %w", a.ln.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if srv.Shutdown(end) != nil {
		srv.Close() //nolint:errcheck // nothing is left to be done about it
	}
	<-served
	a.await(&conns)
	return nil
}

func serve(srv *http.Server, ln net.Listener, served chan<- error) { served <- srv.Serve(ln) }

// server has no read or write timeout: either would end a profile that takes
// longer (the read deadline too, for it cancels the request's context).
// Requests end with ctx. conns counts the connections' goroutines: StateNew is
// told by Serve itself, the others by the goroutine as its last act.
func (a *Admin) server(ctx context.Context, conns *sync.WaitGroup) *http.Server {
	return &http.Server{
		Handler:           a.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdLog(a.log),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
	}
}

// await waits for the connections' goroutines, but not for ever: a part that
// hangs in Status must not keep the node from ending.
func (a *Admin) await(conns *sync.WaitGroup) {
	ended := make(chan struct{})
	go waitFor(conns, ended)
	select {
	case <-ended:
	case <-time.After(grace):
		a.log.Warn("a request does not end")
	}
}

func waitFor(conns *sync.WaitGroup, ended chan<- struct{}) {
	conns.Wait()
	close(ended)
}
