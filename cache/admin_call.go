package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"weir/proxy"
)

// A call is what somebody wants to be purged, as it came.
type call struct {
	URL    string   `json:"url"`
	URLs   []string `json:"urls"`
	Prefix string   `json:"prefix"`
	Tag    string   `json:"tag"`
	Soft   bool     `json:"soft"`
}

// readCall reads a call from its query and its body, which is JSON or a form
// whatever the Content-Type says: curl -d says form of both. What is not
// understood is refused, for a purge that was half read has purged the wrong thing.
func readCall(query string, body []byte) ([]purge, error) {
	var c call
	if err := c.form(query); err != nil {
		return nil, err
	}
	body = bytes.TrimSpace(body)
	read := func() error { return c.form(string(body)) }
	if bytes.HasPrefix(body, []byte("{")) {
		read = func() error { return c.json(body) }
	}
	if err := read(); err != nil {
		return nil, err
	}
	return c.purges()
}

func (c *call) json(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return fmt.Errorf("not understood: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("not understood: something stands behind the JSON object")
	}
	return nil
}

func (c *call) form(s string) error {
	values, err := url.ParseQuery(s)
	if err != nil {
		return fmt.Errorf("not understood: %w", err)
	}
	for name, vs := range values {
		if len(vs) > 1 && name != "url" && name != "urls" {
			return fmt.Errorf("%q stands there twice", name)
		}
		switch name {
		case "url", "urls":
			c.URLs = append(c.URLs, vs...)
		case "prefix":
			c.Prefix = vs[0]
		case "tag":
			c.Tag = vs[0]
		case "soft":
			if c.Soft, err = strconv.ParseBool(vs[0]); err != nil {
				return fmt.Errorf("soft is true or false, not %.40q", vs[0])
			}
		default:
			return fmt.Errorf("%.40q is not known: there are url, prefix, tag and soft", name)
		}
	}
	return nil
}

// purges checks a call and returns what it orders.
func (c *call) purges() ([]purge, error) {
	if c.URL != "" {
		c.URLs = append(c.URLs, c.URL)
	}
	kinds := 0
	for _, given := range []bool{len(c.URLs) > 0, c.Prefix != "", c.Tag != ""} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return nil, errors.New("say what to purge by one of url, urls, prefix and tag")
	case len(c.URLs) > maxURLs:
		return nil, fmt.Errorf("one call purges at most %d URLs", maxURLs)
	case len(c.Tag) > maxTag || strings.ContainsFunc(c.Tag, notInTags):
		return nil, fmt.Errorf("a tag has at most %d bytes, and no blanks, commas or controls", maxTag)
	case c.Tag != "":
		return []purge{{Tag: c.Tag, Soft: c.Soft}}, nil
	case c.Prefix != "":
		prefix, err := readPrefix(c.Prefix)
		return []purge{{Prefix: prefix, Soft: c.Soft}}, err
	}
	return c.each()
}

// notInTags are what separates tags from each other.
func notInTags(r rune) bool { return r <= ' ' || r == ',' || r == 0x7f }

func (c *call) each() ([]purge, error) {
	var all []purge
	for _, u := range c.URLs {
		t, err := readTarget(u)
		if err != nil {
			return nil, err
		}
		all = append(all, purge{URL: t.String(), Soft: c.Soft})
	}
	return all, nil
}

func readPrefix(s string) (string, error) {
	t, err := readTarget(s)
	if err == nil && t.query != "" {
		err = fmt.Errorf("%.200q: a prefix is one of paths, it has no query", s)
	}
	return t.String(), err
}

// readTarget reads a path or URL as the front would.
func readTarget(s string) (target, error) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Host == "" && !strings.HasPrefix(u.Path, "/") {
		return target{}, fmt.Errorf("%.200q is neither a path, which begins with /, nor a URL", s)
	}
	if u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		return target{}, fmt.Errorf("%.200q: only what is asked for by http or https is cached", s)
	}
	path, err := proxy.CleanHTTPPath(u.EscapedPath())
	if err != nil {
		return target{}, fmt.Errorf("%.200q: no viewer can ask for such a path", s)
	}
	return target{path, u.RawQuery}, nil
}
