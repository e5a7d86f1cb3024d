package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"weir/admission"
	"weir/proxy"
)

// signedFor is how long a token is good for if nothing is said: longer than a
// film with its pauses, for segments are asked for until its end.
const signedFor = 6 * time.Hour

// A signing is what weir sign is asked for.
type signing struct {
	keys, kid string
	length    time.Duration
	claim     admission.Claim
	from      string
	url       string
}

// signCommand makes tokens for signed URLs. It asks nobody: the nodes have the
// same file of keys.
func signCommand(_ context.Context, in invocation) error {
	s, err := parseSigning(in)
	if err != nil {
		return err
	}
	keys, err := os.ReadFile(s.keys)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("-keys: %w: a key is a line with a name and at least 32 characters, such as \"k1 $(openssl rand -hex 32)\"", err)
	}
	if err != nil {
		return fmt.Errorf("-keys: %w", err)
	}
	token, err := admission.Sign(keys, s.kid, s.claim)
	if err != nil {
		return fmt.Errorf("sign with %s: %w", s.keys, err)
	}
	if s.url != "" {
		token, err = s.signedURL(token)
	}
	if err == nil {
		fmt.Fprintln(in.stdout, token)
	}
	return err
}

func parseSigning(in invocation) (*signing, error) {
	s := &signing{}
	fs := flag.NewFlagSet("weir sign", flag.ContinueOnError)
	fs.StringVar(&s.keys, "keys", "", "`file` of keys, that of the nodes' -admission.keys")
	fs.StringVar(&s.keys, "admission.keys", "", "the same `file`, as the nodes' environment and -config name it")
	fs.StringVar(&s.kid, "key", "", "`name` of the key to sign with; the first in the file if none is given")
	fs.StringVar(&s.claim.Path, "path", "", "what may be watched: this `path` and all below it; of HLS and DASH the folder, as playlist and segments lie in it; not percent-encoded")
	fs.DurationVar(&s.length, "for", signedFor, "how long; players ask for segments until the end, so less than what is watched takes cuts it off")
	fs.StringVar(&s.from, "addr", "", "address or `prefix` that viewers must come from, as 10.0.0.0/8; phones change theirs on the way")
	fs.StringVar(&s.claim.Class, "class", "", "`class` of the viewers, one of -admission.class")
	fs.IntVar(&s.claim.Max, "max", 0, "how many viewers may use it at once; 0 for no limit")
	fs.StringVar(&s.claim.Subject, "subject", "", "`name` of the viewers, of whom -max and -admission.per-subject count all tokens together")
	fs.StringVar(&s.url, "url", "", "`URL` to which the token is to be added; without it the token is printed alone")
	err := parseTool(fs, in, "[flags] -keys FILE -path PATH",
		"Makes a token with which viewers may watch, by nodes that have the same keys. It stands in a URL as ?token=.")
	if err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q is one too many: URLs are given with -url (%w)", fs.Arg(0), errUsage)
	}
	if err := s.complete(); err != nil {
		return nil, fmt.Errorf("%w (%w)", err, errUsage)
	}
	return s, nil
}

// complete checks what was given, and works out the rest of the claim.
func (s *signing) complete() (err error) {
	switch {
	case s.keys == "":
		return errors.New("say -keys: the file of keys that the nodes have")
	case s.claim.Path == "":
		return fmt.Errorf("say -path: what may be watched, with all below it%s", s.folder())
	case s.length < time.Second:
		return fmt.Errorf("-for %v: must be at least 1s", s.length)
	}
	s.claim.Until = time.Now().Add(s.length)
	if s.from != "" {
		if s.claim.Addr, err = parseFrom(s.from); err != nil {
			return err
		}
	}
	return nil
}

// folder is a hint: what -path might be for the URL.
func (s *signing) folder() string {
	if u, err := url.Parse(s.url); err == nil && strings.HasPrefix(u.Path, "/") {
		return fmt.Sprintf(", such as %s", path.Dir(u.Path))
	}
	return ", such as /vod/film"
}

// parseFrom reads a prefix, or an address as the prefix that has only it.
func parseFrom(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("-addr %q is neither an address nor a prefix like 10.0.0.0/8", s)
	}
	return p, nil
}

// signedURL adds the token to the URL, which must be one that it is good for.
func (s *signing) signedURL(token string) (string, error) {
	u, err := url.Parse(s.url)
	if err != nil || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return "", fmt.Errorf("-url %q has no path: give all of it, as http://edge:8080/vod/film/master.m3u8 (%w)", s.url, errUsage)
	}
	p, err := proxy.CleanPath(u.EscapedPath())
	if err != nil {
		return "", fmt.Errorf("-url: %w: nodes refuse it", err)
	}
	if below := strings.TrimSuffix(s.claim.Path, "/") + "/"; p != s.claim.Path && !strings.HasPrefix(p, below) {
		return "", fmt.Errorf("-url: %s is not below -path %s: the token would not be good for it (%w)", p, s.claim.Path, errUsage)
	}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if name, _, _ := strings.Cut(pair, "="); name == "token" || name == "jwt" {
			return "", fmt.Errorf("-url has a token already: nodes refuse two (%w)", errUsage)
		}
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "token=" + token
	return u.String(), nil
}
