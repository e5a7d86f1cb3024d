// Package auth answers what an RTSP server asks before it lets somebody in
// (RFC 2617): Basic, and Digest with MD5, which is what RTSP servers have. It is
// the client's side only, and opens no connection.
package auth

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"weir/proxy/wire"
)

// A Client has credentials for one server. Its methods may be called by several
// goroutines at once; the zero Client has none and answers nothing.
type Client struct {
	User, Password string

	mu    sync.Mutex
	asked *challenge // nil before the server has asked
	uses  int        // of its nonce
}

// A challenge is one that we can answer.
type challenge struct {
	digest               bool
	realm, nonce, opaque string
	qop                  bool // "auth" is offered
}

// Learn takes the challenges of a 401, and reports whether it is worth while to
// ask again.
func (c *Client) Learn(h wire.Header) bool {
	if c.User == "" && c.Password == "" {
		return false
	}
	var best *challenge
	for _, f := range h {
		if !strings.EqualFold(f.Name, "WWW-Authenticate") {
			continue
		}
		if ch := parseChallenge(f.Value); ch != nil && (best == nil || ch.digest) {
			best = ch
		}
	}
	if best == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.uses = best, 0
	return true
}

// Authorization returns the header's value for a request, "" if the server has
// not asked for one.
func (c *Client) Authorization(method, uri string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		return ""
	}
	if !c.asked.digest {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password))
	}
	c.uses++
	return c.digest(method, uri, rand.Text())
}

// digest is RFC 2617 §3.2.2; without qop it is RFC 2069's.
func (c *Client) digest(method, uri, cnonce string) string {
	ch := c.asked
	ha1 := md5Hex(c.User + ":" + ch.realm + ":" + c.Password)
	ha2 := md5Hex(method + ":" + uri)
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.User)
	s := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, quoted, ch.realm, ch.nonce, uri)
	if ch.qop {
		response := md5Hex(fmt.Sprintf("%s:%s:%08x:%s:auth:%s", ha1, ch.nonce, c.uses, cnonce, ha2))
		s += fmt.Sprintf(`, response="%s", qop=auth, nc=%08x, cnonce="%s"`, response, c.uses, cnonce)
	} else {
		s += fmt.Sprintf(`, response="%s"`, md5Hex(ha1+":"+ch.nonce+":"+ha2))
	}
	if ch.opaque != "" {
		s += fmt.Sprintf(`, opaque="%s"`, ch.opaque)
	}
	return s
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// parseChallenge returns nil for one that we cannot answer.
func parseChallenge(s string) *challenge {
	scheme, rest, _ := strings.Cut(s, " ")
	if strings.EqualFold(scheme, "Basic") {
		return &challenge{}
	}
	if !strings.EqualFold(scheme, "Digest") {
		return nil
	}
	p := authParams(rest)
	if a := p["algorithm"]; a != "" && !strings.EqualFold(a, "MD5") || p["nonce"] == "" {
		return nil
	}
	ch := &challenge{digest: true, realm: p["realm"], nonce: p["nonce"], opaque: p["opaque"]}
	for q := range strings.SplitSeq(p["qop"], ",") {
		ch.qop = ch.qop || strings.EqualFold(strings.TrimSpace(q), "auth")
	}
	if p["qop"] != "" && !ch.qop {
		return nil // auth-int only
	}
	return ch
}

// authParams reads `a="b, c", d=e`; names in lower case, values without quotes,
// what is escaped in them left so.
func authParams(s string) map[string]string {
	p := map[string]string{}
	for {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			return p
		}
		name = strings.ToLower(strings.Trim(name, " \t,"))
		var value string
		if rest = strings.TrimLeft(rest, " \t"); strings.HasPrefix(rest, `"`) {
			value, s = quotedString(rest[1:])
		} else {
			value, s, _ = strings.Cut(rest, ",")
		}
		p[name] = strings.TrimSpace(value)
	}
}

// quotedString returns s up to a quote that is not escaped, and what is behind
// that.
func quotedString(s string) (value, rest string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
