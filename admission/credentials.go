package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// credentials asks the sources that are configured, the cheap ones first, whether
// what a viewer shows is good. One that says yes is enough. A nil *credentials has
// no sources, and lets everybody in.
type credentials struct {
	names  []string // of parameters that carry a token
	cookie string
	realm  string

	keys  *file[keyring] // nil for none, as all sources
	jwt   tokenSource
	users passwordSource
	hook  hookSource
	known *verified // tokens and certificates
	class *unknownClasses

	leave, take *proxy.Taken // of each viewer: the Authorization header is left, or taken
}

// A source knows credentials.
type source interface {
	run(ctx context.Context)
	ready() error // Degraded for one that can answer, but not as it should
}

// A tokenSource knows tokens of two dots. Its errors here and below are *proxy.Refusal.
type tokenSource interface {
	source
	verify(token string, now time.Time) (*grant, error)
}

// A passwordSource knows names and passwords.
type passwordSource interface {
	source
	basic(ctx context.Context, l login) (*grant, error)
	digest(v *proxy.Viewer, now time.Time) (*grant, error)
	challenges(protocol string, now time.Time, addr netip.Addr) []string
}

// A hookSource knows somebody who knows.
type hookSource interface {
	source
	ask(ctx context.Context, q question) (*grant, error)
}

// newCredentials reads all files and reports all that is wrong with them. It
// starts nothing, and returns nil if no source is configured.
func newCredentials(o *Options, log *zap.Logger) (*credentials, error) {
	if !o.asksCredentials() {
		return nil, nil
	}
	c := &credentials{names: o.tokens(), cookie: o.Cookie, realm: o.Realm, known: newVerified(), class: &unknownClasses{classes: o.Classes, log: log}}
	c.leave = &proxy.Taken{Parameters: c.names, Cookie: o.Cookie}
	c.take = &proxy.Taken{Parameters: c.names, Cookie: o.Cookie, Authorization: true}
	if err := errors.Join(c.readKeys(o, log), c.readSources(o, log)); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *credentials) readKeys(o *Options, log *zap.Logger) (err error) {
	if o.Keys == "" {
		return nil
	}
	if c.keys, err = readFile("admission.keys", o.Keys, parseKeys, log); err == nil {
		c.keys.changed = c.known.clear
	}
	return err
}

func (c *credentials) readSources(o *Options, log *zap.Logger) error {
	var errs [3]error
	if o.JWT != "" {
		c.jwt, errs[0] = c.newTokens(o, log)
	}
	if o.Users != "" {
		c.users, errs[1] = newUsers(o, c.known.clear, log)
	}
	if o.Hook != "" {
		c.hook, errs[2] = newHook(o, log)
	}
	return errors.Join(errs[:]...)
}

func (c *credentials) newTokens(o *Options, log *zap.Logger) (tokenSource, error) {
	j, err := newJWT(o, log)
	if err != nil {
		return nil, err
	}
	j.changed = c.known.clear
	return j, nil
}

// run reads files again that change, and runs the sources, until ctx is done and
// all of them have ended.
func (c *credentials) run(ctx context.Context) {
	if c == nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.keys.watch(ctx) })
	if c.jwt != nil {
		wg.Go(func() { c.jwt.run(ctx) })
	}
	if c.users != nil {
		wg.Go(func() { c.users.run(ctx) })
	}
	if c.hook != nil {
		wg.Go(func() { c.hook.run(ctx) })
	}
	wg.Wait()
}

// ready is nil, or says which sources cannot answer now, or not as they should.
func (c *credentials) ready() error {
	if c == nil {
		return nil
	}
	errs := [4]error{c.keys.ready()}
	if c.jwt != nil {
		errs[1] = c.jwt.ready()
	}
	if c.users != nil {
		errs[2] = c.users.ready()
	}
	if c.hook != nil {
		errs[3] = c.hook.ready()
	}
	return worst(errs[:]...)
}

// check finds out who v is, and takes from it what is the gate's, also when it is
// refused. Its errors are *proxy.Refusal.
func (c *credentials) check(ctx context.Context, v *proxy.Viewer, now time.Time) error {
	if c == nil {
		v.Subject = v.Certificate
		return nil
	}
	query := v.Query
	v.Taken = c.leave
	if c.users != nil || c.hook != nil {
		v.Taken = c.take
	}
	v.Query = v.Taken.Strip(query)
	err := c.examine(ctx, v, query, now)
	if v.Taken.Authorization {
		v.Authorization = "" // not before: it has been read now
	}
	if err != nil {
		return c.refusal(err, v, now)
	}
	return nil
}

// examine looks at what v shows, with the query as it came.
func (c *credentials) examine(ctx context.Context, v *proxy.Viewer, query string, now time.Time) error {
	if v.Peer {
		return nil
	}
	s, err := look(v, query, c.names, c.cookie)
	if s.header {
		v.Taken = c.take
	}
	if err == nil && v.Protocol == "http" && writes(v.Method) {
		err = refuse(proxy.ReadOnly, "credentials are for watching")
	}
	if err == nil {
		err = c.verdict(ctx, v, &s, query, now)
	}
	if err != nil {
		return marked(err, s.token != "" || s.basic || s.digest)
	}
	return nil
}

var (
	// errBadCredentials is wrapped by refusals of those who have shown something that is
	// not good for anything.
	errBadCredentials = errors.New("bad credentials")
	// errChallenged is wrapped by those of viewers who have shown nothing, as players do
	// until they are asked, and have done nothing yet.
	errChallenged = errors.New("asked for credentials")
)

// marked marks such refusals. A nonce that is only too old is nobody's fault.
func marked(err error, shown bool) error {
	r := *proxy.Refused(err)
	if r.Reason != proxy.Unauthorized {
		return &r
	}
	mark := errBadCredentials
	if !shown || slices.ContainsFunc(r.Challenges, func(c string) bool { return strings.Contains(c, "stale=true") }) {
		mark = errChallenged
	}
	if r.Err != nil {
		mark = fmt.Errorf("%w: %w", mark, r.Err)
	}
	r.Err = mark
	return &r
}

// writes reports whether a method changes what is at the origin: no credentials
// here are for that. What POST does, licences and reports, is not known.
func writes(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost:
		return false
	}
	return true
}
