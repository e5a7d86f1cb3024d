package splitter

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"weir/proxy"
)

// A shortError is one that quotes an origin, who may say much.
type shortError struct{ error }

func (e shortError) Error() string {
	s := e.error.Error()
	if len(s) > maxQuote {
		s = strings.ToValidUTF8(s[:maxQuote], "") + "…"
	}
	return s
}

func (e shortError) Unwrap() error { return e.error }

// maxQuote bounds what is logged of what an origin says, in bytes.
const maxQuote = 300

// refusal says no for an origin's sake.
func refusal(err error) *proxy.Refusal {
	r := refusalOf(err)
	if r.Err != nil {
		r.Err = shortError{r.Err}
	}
	return r
}

func refusalOf(err error) *proxy.Refusal {
	var code liberrors.ErrClientBadStatusCode
	var ne net.Error
	retry := 5 * time.Second
	switch {
	case errors.As(err, &code):
		return &proxy.Refusal{Reason: reason(code.Code), RetryAfter: retryFor(code.Code), Err: err}
	case nonsense(err):
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: err}
	case errors.As(err, &liberrors.ErrClientRequestTimedOut{}), errors.As(err, &ne) && ne.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &proxy.Refusal{Reason: proxy.OriginSlow, RetryAfter: retry, Err: err}
	}
	var r *proxy.Refusal
	if errors.As(err, &r) {
		return r
	}
	return &proxy.Refusal{Reason: proxy.OriginDown, RetryAfter: retry, Err: err}
}

// nonsense reports whether an origin answered what cannot be understood.
func nonsense(err error) bool {
	return errors.Is(err, errNotRTSP) ||
		errors.As(err, &liberrors.ErrClientServerRequestedTCP{}) ||
		errors.As(err, &liberrors.ErrClientServerRequestedUDP{}) ||
		errors.As(err, &liberrors.ErrClientSDPInvalid{}) ||
		errors.As(err, &liberrors.ErrClientContentTypeMissing{}) ||
		errors.As(err, &liberrors.ErrClientContentTypeUnsupported{}) ||
		errors.As(err, &liberrors.ErrClientTransportHeaderInvalid{})
}

// reason is what an origin's status code means to a viewer of the edge.
func reason(code base.StatusCode) proxy.Reason {
	switch {
	case code == base.StatusNotFound || code == base.StatusGone:
		return proxy.NotFound
	case code == base.StatusUnauthorized || code == base.StatusForbidden:
		return proxy.OriginRefused
	case code == base.StatusServiceUnavailable || code == base.StatusNotEnoughBandwidth:
		return proxy.OriginDown
	default:
		return proxy.OriginBad
	}
}

func retryFor(code base.StatusCode) time.Duration {
	if reason(code) == proxy.OriginDown {
		return 5 * time.Second
	}
	return 0
}
