package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"go.uber.org/zap"

	"weir/proxy"
)

const (
	// hookYes and hookNo are how long answers are remembered, hookMaxYes the
	// longest that a hook may ask for.
	hookYes    = 30 * time.Second
	hookNo     = 2 * time.Second
	hookMaxYes = time.Hour
	// maxHookWord is the longest class or subject, in bytes.
	maxHookWord = 256
	// maxHookBody is what is read of an answer, hookSays what is logged of it.
	maxHookBody = 16 << 10
	hookSays    = 200
)

// errUnanswered is wrapped by errors of questions that did not reach the hook, or
// not in time. All others, a connection that it closes among them, are what it
// says to this question.
var errUnanswered = errors.New("unanswered")

func isUnanswered(err error) bool { return errors.Is(err, errUnanswered) }

// post asks. Its errors mean that there is no answer, or none that can be
// understood, and have neither credentials nor the URL in them.
func (h *hook) post(ctx context.Context, q *question) (*hookAnswer, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	var reached atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { reached.Store(false) }, // also when a kept one turns out dead
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, h.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header["Idempotency-Key"] = []string{} // not sent: if an idle connection turns out dead, net/http asks on another
	res, err := h.client.Do(req)
	switch {
	case err != nil && (!reached.Load() || ctx.Err() != nil):
		return nil, fmt.Errorf("%w: %w", errUnanswered, withoutURL(err))
	case err != nil:
		return nil, withoutURL(err)
	}
	defer res.Body.Close()
	// The status is the answer; the body is for the log, and read so that the
	// connection can be kept.
	said, _ := io.ReadAll(io.LimitReader(res.Body, maxHookBody))
	switch class := res.StatusCode / 100; class {
	case 2:
		return hookAllows(res.Header, q)
	case 4:
		h.log.Debug("the hook says no", zap.String("path", q.Path), zap.Int("status", res.StatusCode), zap.String("body", q.redact(said)))
		return hookRefuses(res.StatusCode, q), nil
	}
	return nil, fmt.Errorf("answers %d", res.StatusCode)
}

// hookAllows reads the headers of a yes. One that cannot be understood makes the
// whole answer one: a limit that is not seen would be none.
func hookAllows(header http.Header, q *question) (*hookAnswer, error) {
	g := q.grants()
	g.class, g.subject = header.Get("X-Admit-Class"), header.Get("X-Admit-Subject")
	if len(g.class) > maxHookWord || len(g.subject) > maxHookWord {
		return nil, errors.New("answers with a class or subject that is too long")
	}
	seconds := int(hookYes / time.Second)
	for _, n := range []struct {
		name string
		to   *int
	}{{"X-Admit-Max-Sessions", &g.max}, {"X-Admit-TTL", &seconds}} {
		text := header.Get(n.name)
		if text == "" {
			continue
		}
		v, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("answers with %s that is not a number", n.name)
		}
		*n.to = int(v)
	}
	ttl := time.Duration(min(seconds, int(hookMaxYes/time.Second))) * time.Second
	return &hookAnswer{grant: g, until: time.Now().Add(ttl)}, nil
}

func hookRefuses(status int, q *question) *hookAnswer {
	reason := proxy.Forbidden
	if status == http.StatusUnauthorized || !q.shows() {
		reason = proxy.Unauthorized
	}
	return &hookAnswer{no: refuse(reason, "the hook says no"), until: time.Now().Add(hookNo)}
}

// redact is what a hook said, for the log: a line of printable text, without the
// credentials, which it may have repeated.
func (q *question) redact(said []byte) string {
	if len(said) == maxHookBody {
		return "" // a secret could stand at the end, cut off and so not found
	}
	text := printable(string(said))
	for _, s := range q.secrets() {
		text = strings.ReplaceAll(text, s, "…")
	}
	return strings.ToValidUTF8(text[:min(len(text), hookSays)], "")
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// secrets are what may not be logged, as it is and as it stands in JSON, the
// longest first: one may be part of another. Values of the query are among them:
// hooks may have tokens of their own there.
func (q *question) secrets() []string {
	secrets := []string{q.Password, q.Token}
	for pair := range strings.SplitSeq(q.Query, "&") {
		_, value, _ := strings.Cut(pair, "=")
		secrets = append(secrets, value)
		if plain, err := url.QueryUnescape(value); err == nil {
			secrets = append(secrets, plain)
		}
	}
	for _, s := range secrets {
		if b, err := json.Marshal(s); err == nil {
			secrets = append(secrets, string(b[1:len(b)-1]))
		}
	}
	for i, s := range secrets {
		secrets[i] = printable(s)
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	return slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
}
