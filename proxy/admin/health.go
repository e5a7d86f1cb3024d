package admin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"weir/proxy"
)

// A state is how a check came out; the words are shown.
type state string

const (
	stateOK       state = "ok"
	stateDegraded state = "degraded" // counts as ready
	stateFailed   state = "failed"
)

// A check is one part's answer to "are you ready?".
type check struct {
	Name  string
	State state
	Why   string // one line; "" if ok
}

func checkPart(p Named) check {
	err := p.Part.Ready()
	if err == nil {
		return check{p.Name, stateOK, ""}
	}
	// What went wrong may quote what the far end said, line ends included.
	why := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error())
	if _, ok := errors.AsType[proxy.Degraded](err); ok {
		return check{p.Name, stateDegraded, why}
	}
	return check{p.Name, stateFailed, why}
}

// line is the check as /readyz?verbose tells it; reveal adds why.
func (c check) line(reveal bool) string {
	var s string
	switch c.State {
	case stateOK:
		s = "[+] " + c.Name + " ok"
	case stateDegraded:
		s = "[~] " + c.Name + " degraded"
	case stateFailed:
		s = "[-] " + c.Name
	}
	if reveal && c.Why != "" {
		s += ": " + c.Why
	}
	return s
}

// checks asks every part. ready is the node's answer.
func (a *Admin) checks() (all []check, ready bool) {
	ready = !a.draining.Load()
	for _, p := range a.conf.Parts {
		c := checkPart(p)
		ready = ready && c.State != stateFailed
		all = append(all, c)
	}
	return all, ready
}

// alive answers as long as the process does: no part is asked, since a restart
// would not bring back an origin.
func alive(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") }

// readyz tells everybody whether the node wants viewers, and with ?verbose each
// part's answer. Why a part is not well is for those only whom the guard lets
// see the rest: it may name origins.
func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	all, ready := a.checks()
	code, body := http.StatusOK, "ok\n"
	if !ready {
		code, body = http.StatusServiceUnavailable, "not ready\n"
	}
	if r.URL.Query().Has("verbose") {
		refused, _ := a.guard.judge(r)
		body = a.verbose(all, refused == 0)
	}
	plain(w, code, body)
}

func (a *Admin) verbose(all []check, reveal bool) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintln(&b, c.line(reveal))
	}
	if a.draining.Load() {
		fmt.Fprintln(&b, "[-] draining")
	}
	return b.String()
}

func plain(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	io.WriteString(w, body) //nolint:errcheck // who asked has gone
}
