package admission

import (
	"net/http"
	"strconv"
	"strings"

	"weir/proxy"
)

// maxCarried is how long a playlist may be, in bytes, whose URIs are given a token:
// it is held until it is whole.
const maxCarried = 1 << 20

// carries returns the token that the URIs of a playlist are to have, "" for none:
// the viewer came with it in the playlist's own URL.
func (w *wrapper) carries(v *proxy.Viewer, path string) string {
	if w.carry == "" || !strings.HasSuffix(strings.ToLower(path), ".m3u8") {
		return ""
	}
	g, ok := v.Grant.(*grant)
	if _, query, _ := strings.Cut(v.Target, "?"); !ok || g == nil || g.token == "" {
		return ""
	} else if shown, _ := tokenOfQuery(query, w.names, false); shown != g.token {
		return ""
	}
	return g.token
}

// serveCarried has the playlist answered in full and in the clear, and hands it on
// with the token.
func (w *wrapper) serveCarried(rw http.ResponseWriter, r *http.Request, token string) {
	r = r.Clone(r.Context())
	for _, name := range []string{"Accept-Encoding", "Range", "If-Range"} {
		r.Header.Del(name)
	}
	c := &carrier{ResponseWriter: rw, name: w.carry, token: token, head: r.Method == http.MethodHead}
	w.serve(c, r)
	c.end()
}

// A carrier holds a playlist until it is whole. Anything else passes.
type carrier struct {
	http.ResponseWriter
	name, token string
	head        bool

	begun, holds bool
	held         []byte
}

// Unwrap is for http.ResponseController.
func (c *carrier) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// WriteHeader implements http.ResponseWriter. What is said of the body as the
// origin has it is not true of this one.
func (c *carrier) WriteHeader(code int) {
	if code < http.StatusOK || c.begun {
		c.ResponseWriter.WriteHeader(code)
		return
	}
	c.begun = true
	h := c.Header()
	length, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	c.holds = code == http.StatusOK && h.Get("Content-Encoding") == "" && (err != nil || length <= maxCarried)
	if !c.holds {
		c.ResponseWriter.WriteHeader(code)
		return
	}
	for _, name := range []string{"Content-Length", "Accept-Ranges", "Etag", "Last-Modified", "Content-Md5", "Repr-Digest", "Content-Digest"} {
		h.Del(name)
	}
	keepPrivate(h)
	if c.head {
		c.ResponseWriter.WriteHeader(code)
	}
}

// Write implements io.Writer.
func (c *carrier) Write(b []byte) (int, error) {
	if !c.begun {
		c.WriteHeader(http.StatusOK)
	}
	switch {
	case !c.holds:
		return c.ResponseWriter.Write(b)
	case len(c.held)+len(b) > maxCarried:
		return 0, http.ErrContentLength // it had said less, or nothing: the viewer sees that it breaks off
	}
	c.held = append(c.held, b...)
	return len(b), nil
}

// FlushError implements what http.ResponseController looks for.
func (c *carrier) FlushError() error {
	if c.holds {
		return nil
	}
	return http.NewResponseController(c.ResponseWriter).Flush()
}

func (c *carrier) end() {
	if !c.holds || c.head {
		return
	}
	text := carry(c.held, c.name, c.token)
	c.Header().Set("Content-Length", strconv.Itoa(len(text)))
	c.ResponseWriter.WriteHeader(http.StatusOK)
	c.ResponseWriter.Write(text) //nolint:errcheck // the viewer has gone
}
