package passthrough

import (
	"crypto/tls"
	"net/url"
	"strings"
	"sync"
	"time"
)

// An origin is a server with media, and what is known of it. What stands above
// mu does not change.
type origin struct {
	name string   // for people and Want.Origin: host:port, and the base if there is one
	addr string   // host:port
	url  *url.URL // with credentials; the path is the base, or a source's own
	path string   // the one path a source is for; "" for an origin of many

	mu        sync.Mutex
	dials     uint64
	failures  uint64 // of dials
	up        bool   // the last dial worked
	lastErr   string
	lastErrAt time.Time
}

func (o *origin) rtsp() bool { return strings.HasPrefix(o.url.Scheme, "rtsp") }

// target is the URL to ask this origin for; escaped is a path as it stands in a
// URL. A source has a URL of its own, whatever it is asked for.
func (o *origin) target(escaped string) *url.URL {
	u := *o.url
	if o.path != "" {
		return &u
	}
	if u.Path == "" {
		u.Path = "/" // else JoinPath would make the path relative
	}
	return u.JoinPath(escaped)
}

// tls is nil where the origin speaks in the clear.
func (o *origin) tls() *tls.Config {
	if o.url.Scheme != "rtsps" {
		return nil
	}
	return &tls.Config{ServerName: o.url.Hostname(), MinVersion: tls.VersionTLS12}
}

// dialed remembers the outcome of a dial, and reports whether it differs from
// the one before. The first counts as a change.
func (o *origin) dialed(err error) (changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	changed = o.dials == 0 || o.up != (err == nil)
	o.dials++
	o.up = err == nil
	if err != nil {
		o.failures++
		o.remember(err.Error())
	}
	return changed
}

// failed remembers that a link went bad, and returns what to log of it.
func (o *origin) failed(err error) string {
	text := o.redact(err.Error())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remember(text)
	return text
}

// remember is called with mu held.
func (o *origin) remember(text string) { o.lastErr, o.lastErrAt = text, time.Now() }

// redact takes the origin's secrets out of a text written elsewhere. A short
// password may take more with it than itself; that is the lesser evil.
func (o *origin) redact(text string) string {
	var secrets []string
	if q := o.url.RawQuery; q != "" {
		secrets = append(secrets, "?"+q, "")
	}
	if user := o.url.User; user != nil {
		secrets = append(secrets, user.String()+"@", "")
		if password, _ := user.Password(); password != "" {
			secrets = append(secrets, password, "***", url.QueryEscape(password), "***", url.PathEscape(password), "***")
		}
	}
	if o.path != "" && len(o.url.Path) > 1 { // a source: see newSource
		secrets = append(secrets, o.url.EscapedPath(), "/***", o.url.Path, "/***")
	}
	return strings.NewReplacer(secrets...).Replace(text)
}

// OriginStatus is what the status page shows of an origin.
type OriginStatus struct {
	Name        string    `json:"name"`
	Scheme      string    `json:"scheme"`
	Path        string    `json:"path,omitempty"` // of a source: the one path it is for
	Dials       uint64    `json:"dials"`
	Failures    uint64    `json:"failures"` // of dials
	State       string    `json:"state"`    // up or down, as the last dial was; idle before the first
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// state is a word for the last dial; mu is held.
func (o *origin) state() string {
	switch {
	case o.dials == 0:
		return "idle"
	case o.up:
		return "up"
	}
	return "down"
}

func (o *origin) status() OriginStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	return OriginStatus{
		Name: o.name, Scheme: o.url.Scheme, Path: o.path,
		Dials: o.dials, Failures: o.failures, State: o.state(),
		LastError: o.lastErr, LastErrorAt: o.lastErrAt,
	}
}
