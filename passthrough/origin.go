package passthrough

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An origin is one address of a site: a server with media. It does not change,
// but for its state.
type origin struct {
	*site
	*state
	name string          // the site's, and @ADDR if that has several addresses
	addr string          // to dial: the address, or host:port while that is not known
	http *http.Transport // its own connections; nil for RTSP
}

// A state is what is known of an origin. It outlives the origin when the site's
// name gets or loses another address, which only changes the origin's name.
type state struct {
	mu   *sync.Mutex   // the balancer's: a choice looks at all origins of a pool at once
	wake chan struct{} // asks for a probe at once; capacity 1

	health   health
	word     word // its agent's
	links    map[*linkConn]*leaving
	told     string // the state that the log was told last
	sessions int
	promised int       // sessions that have chosen this origin and have not entered
	chosen   time.Time // when it was last chosen

	answers, pauses usual        // over HTTP: until an answer's header, and in a body
	awaited         atomic.Int64 // requests over HTTP without an answer yet: none of them goes on

	dials, failures            uint64
	lastDial                   time.Time
	lastErr                    string
	lastErrAt                  time.Time
	why                        string // it is down or ejected
	probes, probeFails, ejects uint64
	probedAt                   time.Time
	probeTook                  time.Duration
	checker                    Probe // used by the one that watches
}

// promiseAge is how long one who has chosen an origin may take to enter it. It
// only has to outlast a busy scheduler.
const promiseAge = time.Second

func (b *Balancer) newState(s *site) *state {
	return &state{mu: &b.mu, wake: make(chan struct{}, 1), told: stateIdle, checker: s.probe}
}

// newOrigin returns an origin of s. addr is where it is, its zero value for where
// the system finds the name; one of several has it in its name.
func (b *Balancer) newOrigin(s *site, st *state, addr netip.Addr, several bool) *origin {
	o := &origin{site: s, state: st, name: s.name, addr: s.hostport()}
	if addr.IsValid() {
		o.addr = hostport(addr, s.port)
	}
	if several {
		o.name += "@" + addr.String()
	}
	if s.web() {
		o.http = b.newTransport(o)
	}
	return o
}

// target is the URL to ask this origin for; escaped is a path as it stands in a
// URL. A source has a URL of its own, whatever it is asked for.
func (s *site) target(escaped string) *url.URL {
	u := *s.url
	if s.source != "" {
		return &u
	}
	if u.Path == "" {
		u.Path = "/" // else JoinPath would make the path relative
	}
	return u.JoinPath(escaped)
}

// enter counts a session or a request in progress until leave, which may be
// called more than once.
func (o *origin) enter() (leave func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count()
}

// claim is enter for sessions that heed the origin's cap. first is the one that
// candidates put first, which has promised the place to the caller.
func (o *origin) claim(first bool) (leave func(), ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !first && o.full(time.Now()) {
		return nil, false
	}
	return o.count(), true
}

// count is called with mu held.
func (o *origin) count() (leave func()) {
	o.sessions++
	o.word.opened++
	o.promised = max(0, o.promised-1)
	return sync.OnceFunc(o.left)
}

func (o *origin) left() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sessions--
	o.word.opened = max(0, o.word.opened-1)
}

// promise counts a session that is about to enter, so that many who choose at
// once do not all see the same load; mu is held.
func (o *origin) promise(now time.Time) {
	o.promised = o.load(now) - o.sessions + 1 // load forgets the old ones
	o.chosen = now
}

// load is the sessions there are, and those that are about to come; mu is held.
// Promises that were not kept are forgotten.
func (o *origin) load(now time.Time) int {
	if now.Sub(o.chosen) > promiseAge {
		o.promised = 0
	}
	return o.sessions + o.promised
}

// full is called with mu held. What an agent counts are all edges' sessions.
func (o *origin) full(now time.Time) bool {
	own := o.load(now)
	if o.max > 0 && own >= o.max {
		return true
	}
	all := own
	if n, ok := o.word.load(); ok {
		all = n + o.promised
	}
	return o.word.capacity > 0 && all >= o.word.capacity
}

// usable reports whether viewers may be sent there; mu is held.
func (s *state) usable() bool { return s.health.usable() && !s.word.refuses() }

// remember is called with mu held.
func (o *origin) remember(text string, now time.Time) { o.lastErr, o.lastErrAt = text, now }

// askForProbe never blocks.
func (s *state) askForProbe() {
	select {
	case s.wake <- struct{}{}:
	default: // it has been asked for
	}
}

// redact takes the origin's secrets out of a text written elsewhere. A short
// password may take more with it than itself; that is the lesser evil.
func (s *site) redact(text string) string {
	var secrets []string
	for _, q := range []string{s.url.RawQuery, s.probe.Query} {
		if q != "" {
			secrets = append(secrets, "?"+q, "")
		}
	}
	if user := s.url.User; user != nil {
		secrets = append(secrets, user.String()+"@", "")
		if password, _ := user.Password(); password != "" {
			secrets = append(secrets, password, "***", url.QueryEscape(password), "***", url.PathEscape(password), "***")
		}
	}
	if s.source != "" && len(s.url.Path) > 1 { // see newSource
		secrets = append(secrets, s.url.EscapedPath(), "/***", s.url.Path, "/***")
	}
	return strings.NewReplacer(secrets...).Replace(text)
}
