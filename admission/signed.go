package admission

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weir/proxy"
)

const (
	// signedVersion is the first line of every payload, so that a MAC over one
	// means nothing to another version or to another use of the key.
	signedVersion = "weir1"
	// signedLines is how many lines a payload has: version, key id, expiry in Unix
	// seconds, path, addresses, class, viewers at once, subject.
	signedLines = 8
	// maxWord is the longest class or subject that is signed, in bytes.
	maxWord = 256
	// maxUntil is the last second of the year 9999.
	maxUntil = 253402300799
	// maxViewers bounds Claim.Max.
	maxViewers = 1_000_000
)

// signedText is how payload and MAC are written. Of several texts for the same
// bytes it takes one only.
var signedText = base64.RawURLEncoding.Strict()

// macText is the length of a MAC as text.
var macText = signedText.EncodedLen(sha256.Size)

// A Claim is what a signed URL is good for.
type Claim struct {
	Path    string       // this path and all below it; in the form of proxy.CleanPath, not percent-encoded
	Until   time.Time    // to the second, rounded down; must be given
	Addr    netip.Prefix // where viewers may come from; the zero Prefix is everywhere
	Class   string       // "" is the lowest
	Subject string       // who the viewers are; "" is nobody in particular
	Max     int          // viewers at once with this subject, or with this token if there is none; 0 is no limit
}

// Sign makes the token that stands in a signed URL: two words of base64url
// (RFC 4648 §5, without padding) with a dot between them, the payload and its
// HMAC-SHA256. keys is the text of a file of keys, kid the id of one of them, ""
// for the first.
func Sign(keys []byte, kid string, c Claim) (token string, err error) {
	ring, err := parseKeys(keys)
	if err != nil {
		return "", err
	}
	k, ok := ring[0], true
	if kid != "" {
		k, ok = ring.find(kid)
	}
	if !ok {
		return "", fmt.Errorf("no key %q in it: it has %s", kid, ring.ids())
	}
	if err := c.check(); err != nil {
		return "", err
	}
	text := c.payload(k.id)
	return signedText.EncodeToString(text) + "." + signedText.EncodeToString(k.mac(text)), nil
}

// check reports all that is wrong with a claim.
func (c Claim) check() error {
	errs := []error{checkClaimPath(c.Path)}
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	at := c.Until.Unix()
	bad(at <= 0 || at > maxUntil, "the token must have an end, between 1970 and 9999")
	bad(c.Addr.Addr().Is4In6(), "addresses %v: write them as IPv4", c.Addr)
	bad(c.Addr.Addr().Zone() != "", "addresses %v: a zone means nothing to others", c.Addr)
	bad(!isWord(c.Class), "class %q: up to %d bytes of text", c.Class, maxWord)
	bad(!isWord(c.Subject), "subject %q: up to %d bytes of text", c.Subject, maxWord)
	bad(c.Max < 0 || c.Max > maxViewers, "%d viewers at once: must be from 0 (no limit) to %d", c.Max, maxViewers)
	return errors.Join(errs...)
}

// checkClaimPath refuses what no viewer's path is compared with: paths are signed
// as they are once decoded. Names with a percent sign in them are taken for
// encoded ones; the folder above them can be signed.
func checkClaimPath(p string) error {
	clean, err := proxy.CleanPath(p)
	switch {
	case err != nil:
		return fmt.Errorf("path %q: %w", p, err)
	case clean != p:
		return fmt.Errorf("path %q: write it as %q", p, clean)
	}
	return nil
}

func isWord(s string) bool {
	return len(s) <= maxWord && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// payload has a line for each of its parts: none of them has a line feed in it.
func (c Claim) payload(kid string) []byte {
	from := ""
	if c.Addr.IsValid() {
		from = c.Addr.Masked().String()
	}
	return []byte(strings.Join([]string{
		signedVersion, kid, strconv.FormatInt(c.Until.Unix(), 10), c.Path, from, c.Class, strconv.Itoa(c.Max), c.Subject,
	}, "\n"))
}

// verify reads a token of Sign. Its errors are Unauthorized for what is none and
// Forbidden for one that has expired.
func (k keyring) verify(token string, now time.Time) (*grant, error) {
	text, mac := splitSigned(token)
	if text == nil {
		return nil, refuse(proxy.Unauthorized, "not a signed token")
	}
	version, rest, _ := strings.Cut(string(text), "\n")
	id, _, _ := strings.Cut(rest, "\n")
	key, ok := k.find(id)
	switch {
	case version != signedVersion:
		return nil, refuse(proxy.Unauthorized, "signed token of another version")
	case !ok:
		return nil, refuse(proxy.Unauthorized, "signed token with an unknown key id")
	case !hmac.Equal(mac, key.mac(text)):
		return nil, refuse(proxy.Unauthorized, "signed token with a bad signature")
	}
	c, err := parseClaim(string(text))
	if err != nil {
		return nil, refuse(proxy.Unauthorized, "signed token that does not say what it should")
	}
	if !now.Before(c.Until) {
		return nil, refuse(proxy.Forbidden, "signed token has expired")
	}
	return c.grant(token, mac), nil
}

// splitSigned returns the payload and the MAC of a token, nil if it is none.
func splitSigned(token string) (text, mac []byte) {
	head, tail, _ := strings.Cut(token, ".")
	if len(token) > maxToken || len(tail) != macText {
		return nil, nil
	}
	text, err := signedText.DecodeString(head)
	if err != nil || signedText.EncodedLen(len(text)) != len(head) {
		return nil, nil // the decoder passes over line feeds: the length tells
	}
	mac, err = signedText.DecodeString(tail)
	if err != nil || len(mac) != sha256.Size {
		return nil, nil
	}
	return text, mac
}

// parseClaim reads a payload.
func parseClaim(text string) (c Claim, err error) {
	line := strings.Split(text, "\n")
	if len(line) != signedLines {
		return c, errors.New("lines missing, or too many")
	}
	at, err := strconv.ParseInt(line[2], 10, 64)
	if err != nil {
		return c, err
	}
	if line[4] != "" {
		if c.Addr, err = netip.ParsePrefix(line[4]); err != nil {
			return c, err
		}
	}
	if c.Max, err = strconv.Atoi(line[6]); err != nil {
		return c, err
	}
	c.Until, c.Path, c.Class, c.Subject = time.Unix(at, 0), line[3], line[5], line[7]
	return c, c.check()
}

func (c Claim) grant(token string, mac []byte) *grant {
	g := &grant{
		subject: c.Subject, class: c.Class, max: c.Max,
		scope: under{c.Path}, from: c.Addr, until: c.Until,
		token: token, path: c.Path,
	}
	if g.max > 0 && g.subject == "" {
		g.subject = "url-" + hex.EncodeToString(mac[:6])
	}
	return g
}
