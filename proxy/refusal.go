package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"weir/proxy/wire"
)

// A Reason says why a viewer was refused. It is the label of counters and has
// one code per protocol.
type Reason string

// The reasons there are.
const (
	BadRequest     Reason = "bad-request"
	Unauthorized   Reason = "unauthorized"     // no or bad credentials; may try again
	Forbidden      Reason = "forbidden"        // not for this viewer
	NotFound       Reason = "not-found"        // the origin says so, or no rung takes it
	TooMany        Reason = "too-many"         // this viewer has enough sessions
	TooFast        Reason = "too-fast"         // rate of requests
	Full           Reason = "full"             // no place left
	NoBandwidth    Reason = "no-bandwidth"     //
	Draining       Reason = "draining"         // this node is about to go
	NoOrigin       Reason = "no-origin"        // none is configured for this path
	OriginDown     Reason = "origin-down"      // none answers
	OriginBad      Reason = "origin-bad"       // it answered nonsense
	OriginSlow     Reason = "origin-slow"      // it did not answer in time
	OriginRefused  Reason = "origin-refused"   // it did not let the edge in
	NoVerdict      Reason = "no-verdict"       // who is to say whether the viewer may come in does not answer
	Banned         Reason = "banned"           // this address has been refused too often
	Overloaded     Reason = "overloaded"       // this node has enough to do with the viewers it has
	BadTransport   Reason = "bad-transport"    // RTSP transport not to be had
	ReadOnly       Reason = "read-only"        // viewers do not publish
	NoSession      Reason = "no-session"       // an RTSP session that is not known, or another viewer's
	BadMethod      Reason = "bad-method"       // a request of a kind that nobody here knows
	WrongState     Reason = "wrong-state"      // RTSP: not now, such as SETUP while playing
	NotAggregate   Reason = "not-aggregate"    // RTSP: for one track, and the URL is that of several
	OnlyAggregate  Reason = "only-aggregate"   // RTSP: for all tracks, and the URL is that of one
	UnknownFeature Reason = "unknown-feature"  // RTSP Require or Proxy-Require
	NotLive        Reason = "not-live-content" // a stored stream, and no rung for it
	Loop           Reason = "loop"             // the request has been here before
	SecondHand     Reason = "second-hand"      // a peer asks for what this edge itself has from a peer
)

// codes is the one table from a reason to each protocol's answer. The sentence
// is the reason phrase: ffmpeg and others show it to their user.
var codes = map[Reason]struct {
	rtsp, http int
	phrase     string
}{
	BadRequest:     {400, 400, "Bad Request"},
	Unauthorized:   {401, 401, "Unauthorized"},
	Forbidden:      {403, 403, "Forbidden"},
	NotFound:       {404, 404, "Not Found"},
	TooMany:        {453, 429, "Too Many Sessions"},
	TooFast:        {503, 429, "Too Many Requests"},
	Full:           {453, 503, "No Place Left"},
	NoBandwidth:    {453, 503, "Not Enough Bandwidth"},
	Draining:       {503, 503, "Going Away"},
	NoOrigin:       {404, 404, "No Origin For This Path"},
	OriginDown:     {503, 503, "Origin Down"},
	SecondHand:     {503, 503, "Second Hand"},
	OriginBad:      {502, 502, "Bad Origin"},
	OriginSlow:     {504, 504, "Origin Timed Out"},
	OriginRefused:  {502, 502, "Origin Refused"},
	NoVerdict:      {503, 503, "Authorization Unavailable"},
	Banned:         {403, 403, "Forbidden For Now"},
	Overloaded:     {503, 503, "Overloaded"},
	BadTransport:   {461, 400, "Unsupported Transport"},
	ReadOnly:       {405, 405, "Method Not Allowed"},
	NoSession:      {454, 400, "Session Not Found"},
	BadMethod:      {501, 501, "Not Implemented"},
	WrongState:     {455, 400, "Method Not Valid In This State"},
	NotAggregate:   {459, 400, "Aggregate Operation Not Allowed"},
	OnlyAggregate:  {460, 400, "Only Aggregate Operation Allowed"},
	UnknownFeature: {551, 501, "Option Not Supported"},
	NotLive:        {404, 404, "Not A Live Stream"},
	Loop:           {502, 508, "Loop Detected"},
}

// A Refusal is the error of everything that says no to a viewer.
type Refusal struct {
	Reason     Reason
	RetryAfter time.Duration // when to come back; 0 says nothing about it
	Challenges []string      // values of WWW-Authenticate (RFC 9110 §11.6.1), for Unauthorized
	Err        error         // what happened, for the log; may be nil; never shown to the viewer
}

// Error is for logs.
func (r *Refusal) Error() string {
	if r.Err != nil {
		return fmt.Sprintf("%s: %v", r.Reason, r.Err)
	}
	return string(r.Reason)
}

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }

// RTSP returns the status code and reason phrase for an RTSP viewer. A reason
// that is not in the table is 500.
func (r *Refusal) RTSP() (code int, phrase string) {
	if c, ok := codes[r.Reason]; ok {
		return c.rtsp, c.phrase
	}
	return http.StatusInternalServerError, "Internal Error"
}

// HTTP returns the status code and a sentence for an HTTP viewer; 500 as above.
func (r *Refusal) HTTP() (code int, phrase string) {
	if c, ok := codes[r.Reason]; ok {
		return c.http, c.phrase
	}
	return http.StatusInternalServerError, "Internal Error"
}

// Refused returns err as a Refusal. What is none becomes OriginSlow if a
// deadline ran out and OriginDown otherwise.
func Refused(err error) *Refusal {
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, context.DeadlineExceeded):
		return &Refusal{Reason: OriginSlow, RetryAfter: 5 * time.Second, Err: err}
	default:
		return &Refusal{Reason: OriginDown, RetryAfter: 5 * time.Second, Err: err}
	}
}

// Response returns the refusal as the answer to an RTSP request; req may be nil.
func (r *Refusal) Response(req *wire.Request) *wire.Response {
	code, phrase := r.RTSP()
	res := &wire.Response{Code: code, Phrase: phrase}
	if req != nil {
		res.Header.Add("CSeq", req.Header.Get("CSeq"))
	}
	if r.RetryAfter > 0 {
		res.Header.Add("Retry-After", seconds(r.RetryAfter))
	}
	for _, c := range r.Challenges {
		res.Header.Add("WWW-Authenticate", c)
	}
	return res
}

// WriteHTTP answers an HTTP request with the refusal.
func (r *Refusal) WriteHTTP(w http.ResponseWriter) {
	code, phrase := r.HTTP()
	if r.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(r.RetryAfter))
	}
	for _, c := range r.Challenges {
		w.Header().Add("WWW-Authenticate", c)
	}
	http.Error(w, phrase, code)
}

// seconds rounds up, so that nobody comes back too early.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// Refuse stands below the last rung: it answers everything with 404.
var Refuse Handler = refuse{}

type refuse struct{}

func (refuse) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	(&Refusal{Reason: NotFound}).WriteHTTP(w)
}

func (refuse) ServeRTSP(_ context.Context, c *RTSPConn) {
	defer c.Close()
	// The viewer may have gone already; there is nobody else to tell.
	_, _ = c.Write((&Refusal{Reason: NotFound}).Response(c.First).Append(nil))
}
