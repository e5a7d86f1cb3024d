package admission

import (
	"encoding/json"
	"errors"
	"net/netip"

	"github.com/golang-jwt/jwt/v5"

	"weir/proxy"
)

// jwtClaims are those that are read. What is about paths is looked at after the
// signature only; a claim of null is there, and allows nothing.
type jwtClaims struct {
	jwt.RegisteredClaims
	Class       string          `json:"class"`
	MaxSessions int             `json:"max_sessions"`
	Path        json.RawMessage `json:"path"`
	Paths       json.RawMessage `json:"paths"`
	Permissions json.RawMessage `json:"mediamtx_permissions"`
	IP          string          `json:"ip"`
	Confirm     struct {        // RFC 7800 §3.1
		IP string `json:"ip"`
	} `json:"cnf"`
}

// every allows what each of its scopes allows.
type every []scope

func (e every) allows(path string) bool {
	for _, s := range e {
		if !s.allows(path) {
			return false
		}
	}
	return true
}

// grant is what a token with these claims is good for. Its errors hold nothing
// of them.
func (c *jwtClaims) grant(token string) (*grant, error) {
	if c.MaxSessions < 0 {
		return nil, errors.New("max_sessions is negative")
	}
	from, err := c.from()
	if err != nil {
		return nil, err
	}
	prefixes, err := c.prefixes()
	if err != nil {
		return nil, err
	}
	g := &grant{
		subject: c.Subject, class: c.Class, max: c.MaxSessions,
		from: from, until: c.ExpiresAt.Time, token: token, path: "/",
	}
	g.scope = c.scope(prefixes)
	if len(prefixes) == 1 {
		g.path = prefixes[0]
	}
	return g, nil
}

// scope is nil for every path. Where there are claims of both kinds, both must
// allow a path.
func (c *jwtClaims) scope(prefixes under) scope {
	switch {
	case c.Permissions == nil && prefixes == nil:
		return nil
	case c.Permissions == nil:
		return prefixes
	case prefixes == nil:
		return parsePermissions(c.Permissions)
	}
	return every{prefixes, parsePermissions(c.Permissions)}
}

// prefixes are nil if there is no claim of that kind.
func (c *jwtClaims) prefixes() (under, error) {
	if c.Path == nil && c.Paths == nil {
		return nil, nil
	}
	var paths []string
	if c.Paths != nil && json.Unmarshal(c.Paths, &paths) != nil {
		return nil, errors.New("paths is not a list of strings")
	}
	if c.Path != nil {
		var path string
		if json.Unmarshal(c.Path, &path) != nil || path == "" {
			return nil, errors.New("path is not one")
		}
		paths = append(paths, path)
	}
	prefixes := under{}
	for _, p := range paths {
		clean, err := proxy.CleanPath(p)
		if err != nil || p == "" {
			return nil, errors.New("one of paths is not one")
		}
		prefixes = append(prefixes, clean)
	}
	return prefixes, nil
}

// from is the address, or the prefix of addresses, that the token may come from.
func (c *jwtClaims) from() (netip.Prefix, error) {
	text := c.Confirm.IP
	switch {
	case text == "":
		text = c.IP
	case c.IP != "" && c.IP != text:
		return netip.Prefix{}, errors.New("ip and cnf.ip differ")
	}
	if text == "" {
		return netip.Prefix{}, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("ip is not an address")
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}
