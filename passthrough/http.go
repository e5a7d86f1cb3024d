package passthrough

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"weir/proxy"
)

// newTransport has no total deadline: low-latency playlists block, and endless
// audio never ends.
func (b *Balancer) newTransport(o *origin) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return b.connect(ctx, o)
		},
		DisableCompression:  true, // bodies pass as they are
		TLSClientConfig:     o.tlsConfig(),
		TLSHandshakeTimeout: b.timeout,
		// All viewers share a few origins, so net/http's 2 per host would close
		// and dial under load.
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
	}
}

// RoundTrip implements proxy.Upstream. A request goes to the HTTP origins in
// order until one can be dialed, and then to no other: that one may have seen
// it.
func (b *Balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	all, err := b.candidates(query{web: true, path: req.URL.Path, origin: req.URL.Host})
	if err != nil {
		if req.Body != nil {
			req.Body.Close() //nolint:errcheck // http.RoundTripper's duty
		}
		return nil, err
	}
	var errs []error
	for i, o := range all {
		out, err := request(req, o, i > 0)
		if err != nil {
			return nil, err
		}
		res, err := o.http.RoundTrip(out)
		var dial *dialError
		if !errors.As(err, &dial) {
			return res, failure(req.Context(), err)
		}
		errs = append(errs, dial)
		if !repeatable(req) || req.Context().Err() != nil {
			break
		}
	}
	return nil, refusal(req.Context(), errs)
}

// request is req as it goes to an origin. The viewer's Host stays here.
func request(req *http.Request, o *origin, again bool) (*http.Request, error) {
	out := req.Clone(req.Context())
	if again && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, fmt.Errorf("body for origin %s: %w", o.name, err)
		}
		out.Body = body
	}
	out.URL = o.target(escapedPath(req.URL))
	out.URL.RawQuery, out.URL.ForceQuery = req.URL.RawQuery, req.URL.ForceQuery
	out.Host = ""
	if user := out.URL.User; user != nil { // http.Client would do this, a Transport does not
		password, _ := user.Password()
		out.SetBasicAuth(user.Username(), password)
		out.URL.User = nil
	}
	return out, nil
}

// escapedPath is the path of a URL that may have none.
func escapedPath(u *url.URL) string {
	if p := u.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

func repeatable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// failure turns an error of the transport into a refusal where nobody was
// reached in time.
func failure(ctx context.Context, err error) error {
	var dial *dialError
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.As(err, &dial):
		return refusal(ctx, []error{dial})
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &proxy.Refusal{Reason: proxy.OriginSlow, RetryAfter: retryAfter, Err: err}
	default:
		return err
	}
}
