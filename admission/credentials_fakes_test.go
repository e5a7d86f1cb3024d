package admission

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"weir/proxy"
)

// A fakeTokens is a tokenSource that knows one token.
type fakeTokens struct {
	token string
	grant *grant
	asked int
	down  error
}

func (f *fakeTokens) verify(token string, _ time.Time) (*grant, error) {
	f.asked++
	if token != f.token {
		return nil, refuse(proxy.Unauthorized, "bad token")
	}
	return f.grant, nil
}
func (f *fakeTokens) run(ctx context.Context) { <-ctx.Done() }
func (f *fakeTokens) ready() error            { return f.down }

// A fakeUsers is a passwordSource that knows bob, whose Digest is good whatever
// it says.
type fakeUsers struct{ saw string }

func (f *fakeUsers) basic(_ context.Context, l login) (*grant, error) {
	if l.name != "bob" || l.password != "secret" {
		return nil, refuse(proxy.Unauthorized, "bad password")
	}
	return &grant{subject: "bob"}, nil
}

func (f *fakeUsers) digest(v *proxy.Viewer, _ time.Time) (*grant, error) {
	f.saw = v.Authorization
	if strings.Contains(f.saw, "stale") {
		return nil, &proxy.Refusal{Reason: proxy.Unauthorized, Challenges: []string{"Digest stale=true"}}
	}
	return &grant{subject: "bob"}, nil
}
func (f *fakeUsers) challenges(string, time.Time, netip.Addr) []string { return []string{"Digest x"} }
func (f *fakeUsers) run(ctx context.Context)                           { <-ctx.Done() }
func (f *fakeUsers) ready() error                                      { return nil }

// A fakeHook is a hookSource that lets bob in and is otherwise of one opinion.
type fakeHook struct {
	no   error
	saw  []question
	down error
}

func (f *fakeHook) ask(_ context.Context, q question) (*grant, error) {
	f.saw = append(f.saw, q)
	if q.User == "bob" && q.Password == "secret" || f.no == nil {
		return &grant{subject: "hooked"}, nil
	}
	return nil, f.no
}
func (f *fakeHook) run(ctx context.Context) { <-ctx.Done() }
func (f *fakeHook) ready() error            { return f.down }
