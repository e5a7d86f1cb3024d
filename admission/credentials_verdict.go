package admission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"time"

	"weir/proxy"
)

// verdict asks the sources one after the other, and sets in v what the first that
// says yes has granted. The query is as the viewer sent it.
func (c *credentials) verdict(ctx context.Context, v *proxy.Viewer, s *shown, query string, now time.Time) error {
	t := trial{v: v, now: now}
	switch {
	case s.token != "" && t.good(c.token(s.token, now)):
	case v.Certificate != "" && t.good(c.certificate(v.Certificate, now)):
	case s.digest && c.users != nil && t.good(c.users.digest(v, now)):
	case s.basic && c.users != nil && t.good(c.users.basic(ctx, login{s.user, s.password, v.Addr.Addr()})):
	case c.hook != nil && t.good(c.hook.ask(ctx, asking(v, s, query))):
	case t.no == nil:
		return refuse(proxy.Unauthorized, "no credentials")
	default:
		return t.no
	}
	c.class.look(t.grant.class, now)
	v.Subject, v.Class, v.Grant = t.grant.subject, t.grant.class, t.grant
	if v.Subject == "" && t.grant.max > 0 {
		v.Subject = nameless(t.grant, v)
	}
	return nil
}

// nameless is the subject of a grant that has none, but a limit for it: what was
// shown, or if that was no token, where it came from.
func nameless(g *grant, v *proxy.Viewer) string {
	if g.token != "" {
		sum := sha256.Sum256([]byte(g.token))
		return "token-" + hex.EncodeToString(sum[:6])
	}
	return "address-" + client(v.Addr.Addr()).String()
}

// A trial is what the sources have said so far.
type trial struct {
	v     *proxy.Viewer
	now   time.Time
	grant *grant
	no    error // the one that says most; nil before the first
}

// good reports whether a source has said yes, to what v asks for.
func (t *trial) good(g *grant, err error) bool {
	if err == nil {
		err = g.admits(t.v, t.now)
	}
	if err == nil {
		t.grant = g
		return true
	}
	if t.no == nil || refusalWeight(err) > refusalWeight(t.no) {
		t.no = err
	}
	return false
}

// refusalWeight orders refusals: credentials that are real but not for this, then a
// source that cannot say now, then credentials that nobody knows.
func refusalWeight(err error) int {
	switch proxy.Refused(err).Reason {
	case proxy.Forbidden:
		return 2
	case proxy.Unauthorized:
		return 0
	}
	return 1
}

// token verifies one, unless that was done before.
func (c *credentials) token(text string, now time.Time) (*grant, error) {
	id := hashed(kindToken, text)
	g, epoch := c.known.get(id, now)
	if g != nil {
		return g, nil
	}
	g, err := c.verify(text, now)
	if err == nil {
		c.known.add(id, g, now, epoch)
	}
	return g, err
}

func (c *credentials) verify(token string, now time.Time) (*grant, error) {
	switch dots := strings.Count(token, "."); {
	case dots == 1 && c.keys != nil:
		return c.keys.get().verify(token, now)
	case dots == 2 && c.jwt != nil:
		return c.jwt.verify(token, now)
	}
	return nil, refuse(proxy.Unauthorized, "token of a kind that is not configured")
}

// certificate is the grant of a name that TLS has verified.
func (c *credentials) certificate(name string, now time.Time) (*grant, error) {
	if len(name) > maxToken {
		return nil, refuse(proxy.Unauthorized, "name in the certificate too long")
	}
	id := hashed(kindCertificate, name)
	g, epoch := c.known.get(id, now)
	if g == nil {
		g = &grant{subject: name}
		c.known.add(id, g, now, epoch)
	}
	return g, nil
}

// asking is the question that a hook is asked, as MediaMTX would.
func asking(v *proxy.Viewer, s *shown, query string) question {
	q := question{
		IP: v.Addr.Addr().String(), UserAgent: v.UserAgent, from: v.Addr.Addr(),
		User: s.user, Password: s.password, Token: s.token,
		Action: "read", Protocol: "rtsp", Path: v.Path, Query: query,
	}
	if v.Protocol == "http" {
		q.Protocol, q.Path = "hls", watched(v.Path)
	}
	q.Path = strings.TrimPrefix(q.Path, "/")
	return q
}

// watched is the path of the stream that a playlist or segment belongs to: the
// folder, unless that is the root.
func watched(p string) string {
	if dir, _ := path.Split(p); isPiece(p) && dir != "/" {
		return strings.TrimSuffix(dir, "/")
	}
	return p
}

// refusal adds to a refusal how the viewer may show credentials, unless the
// source has done so.
func (c *credentials) refusal(err error, v *proxy.Viewer, now time.Time) error {
	r := *proxy.Refused(err)
	if r.Reason == proxy.Unauthorized && len(r.Challenges) == 0 {
		r.Challenges = c.challenges(v, now)
	}
	return &r
}

// challenges ask for Basic over RTSP where there are only tokens: as a password is
// the one way in which its players show them when they are asked.
func (c *credentials) challenges(v *proxy.Viewer, now time.Time) []string {
	switch {
	case c.users != nil:
		return c.users.challenges(v.Protocol, now, v.Addr.Addr())
	case c.hook != nil, v.Protocol == "rtsp":
		return []string{`Basic realm="` + c.realm + `"`}
	}
	return []string{`Bearer realm="` + c.realm + `"`} // RFC 6750 §3: at least one parameter
}
