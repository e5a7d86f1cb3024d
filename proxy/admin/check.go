package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir/proxy"
)

// patience bounds Check: whoever runs it would call a node that is slower dead.
const patience = 5 * time.Second

// maxVerbose bounds how much of an answer Check reads, in bytes.
const maxVerbose = 64 << 10

// Check asks the running node whose door is at base, a URL or host:port, whether
// it is ready. It returns nil if so, degraded included, else an error that holds
// the failing lines. token may be empty; without it, where one is needed, the
// lines do not say why. It waits at most 5 s.
func Check(ctx context.Context, base, token string) error {
	u, err := doorURL(base)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("readyz").String()+"?verbose", nil)
	if err != nil {
		return fmt.Errorf("check %s: %w", proxy.Redact(u), err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	code, body, err := get(req)
	switch {
	case err != nil:
		return fmt.Errorf("check %s: %w", proxy.Redact(u), err)
	case code == http.StatusOK:
		return nil
	case code == http.StatusServiceUnavailable:
		return fmt.Errorf("node at %s is not ready: %s", proxy.Redact(u), failing(body))
	default:
		return fmt.Errorf("check %s: status %d: is this the door of a node?", proxy.Redact(u), code)
	}
}

// doorURL reads what stands in -admin as well as a URL.
func doorURL(base string) (*url.URL, error) {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("check: %.80q is neither host:port nor a URL", base)
	}
	return u, nil
}

// get uses a transport of its own, so that no connection stays, no proxy from
// the environment is asked and no redirect carries the token elsewhere.
func get(req *http.Request) (code int, body string, err error) {
	t := &http.Transport{DisableKeepAlives: true}
	res, err := t.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxVerbose))
	return res.StatusCode, string(b), err
}

// failing picks the lines that say no.
func failing(body string) string {
	var lines []string
	for line := range strings.Lines(body) {
		if no, ok := strings.CutPrefix(line, "[-] "); ok {
			lines = append(lines, strings.TrimSpace(no))
		}
	}
	if len(lines) == 0 {
		return "it does not say why"
	}
	return strings.Join(lines, "; ")
}
